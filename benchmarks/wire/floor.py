"""The least that an exchange between two hosts takes: two processes with plain sockets add up their gradients. Needs numpy alone.

    floor.py listen PORT BYTES SECONDS             on one host, which writes a line of JSON
    floor.py ADDRESS PORT BYTES SECONDS            on the other

As in a good allreduce each sends the other's half of its numbers, adds the half that it gets, and sends the sum. Nothing is
computed beside it, so nothing is hidden.
"""

from __future__ import annotations

import json
import select
import socket
import statistics
import sys
import time

import numpy as np

WARM_UP = 20
LIMIT_S = 60.0


def exchange(peer: socket.socket, sent: np.ndarray, into: np.ndarray) -> None:
    """Send and receive at once, as much as the socket takes."""
    out, back = memoryview(sent).cast("B"), memoryview(into).cast("B")
    poll = select.poll()
    poll.register(peer, select.POLLIN | select.POLLOUT)
    deadline = time.monotonic() + LIMIT_S
    waits_for_room = True
    while out or back:
        for _, events in poll.poll(1000):
            if events & select.POLLIN and back:
                back = back[peer.recv_into(back) :]
            if events & select.POLLOUT and out:
                out = out[peer.send(out) :]
        if not out and waits_for_room:
            waits_for_room = False
            poll.modify(peer, select.POLLIN)
        if time.monotonic() > deadline:
            raise TimeoutError(f"the other host did not answer for {LIMIT_S:g} s")


def allreduce(peer: socket.socket, own: np.ndarray, other: np.ndarray, received: np.ndarray) -> None:
    """`own` is the half that this process adds up, `other` the other one's."""
    exchange(peer, other, received)
    np.add(own, received, out=own)
    exchange(peer, own, other)


def connected(where: str, port: int) -> socket.socket:
    if where == "listen":
        with socket.create_server(("", port)) as server:
            server.settimeout(LIMIT_S)
            print("listening", file=sys.stderr, flush=True)
            peer, _ = server.accept()
    else:
        peer = socket.create_connection((where, port), timeout=LIMIT_S)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.setblocking(False)
    return peer


def main(where: str, port: str, num_bytes: str, seconds: str) -> None:
    half = int(num_bytes) // 8
    own, other, received = (np.ones(half, np.float32) for _ in range(3))
    with connected(where, int(port)) as peer:

        def once() -> float:
            began = time.perf_counter()
            allreduce(peer, own, other, received)
            return time.perf_counter() - began

        typical = statistics.median(once() for _ in range(WARM_UP))
        # Both must take the same number; their times differ a little, and the listener's decides.
        count = np.array([max(10, round(float(seconds) / typical))], np.int64)
        told = np.zeros(1, np.int64)
        exchange(peer, count, told)
        number = int(count[0] if where == "listen" else told[0])
        cpu = time.process_time()
        times = [once() for _ in range(number)]
        cpu = (time.process_time() - cpu) / number
    if where == "listen":
        answer = {"ms": 1000 * statistics.median(times), "cpu_ms": 1000 * cpu, "exchanges": number}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
