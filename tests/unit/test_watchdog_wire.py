"""The watchdog's wire: lines, limits, secrets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from hvd_train.launch import watch_wire
from hvd_train.launch.watch_wire import Wire, connect, ipv4_addresses, listen, same


@pytest.fixture
def pair() -> Iterator[tuple[Wire, socket.socket]]:
    ours, theirs = socket.socketpair()
    wire = Wire(ours)
    yield wire, theirs
    wire.close()
    theirs.close()


def test_messages_arrive_whole_whatever_the_pieces(pair: tuple[Wire, socket.socket]) -> None:
    wire, peer = pair
    peer.sendall(b'{"a": 1}\n{"b"')
    assert wire.receive() == [{"a": 1}]
    peer.sendall(b": 2}\n")
    assert wire.receive() == [{"b": 2}]
    assert wire.receive() == []
    assert not wire.closed


def test_last_words_are_heard_before_the_end(pair: tuple[Wire, socket.socket]) -> None:
    wire, peer = pair
    peer.sendall(b'{"left": "finished"}\n')
    peer.close()
    assert wire.receive() == [{"left": "finished"}]
    assert wire.closed


@pytest.mark.parametrize(
    "line", [b"no json\n", b"[1]\n", b"\xff\n", b"[" * 4000 + b"\n", b"x" * 5000, b'{"a": "' + b"x" * 5000 + b'"}\n']
)
def test_nonsense_is_cut_off(pair: tuple[Wire, socket.socket], line: bytes) -> None:
    wire, peer = pair
    peer.sendall(b'{"a": 1}\n' + line)
    assert wire.receive() == [{"a": 1}]
    assert wire.closed


def test_a_peer_that_does_not_read_holds_nobody_up_and_later_reads_whole_lines(
    pair: tuple[Wire, socket.socket],
) -> None:
    wire, peer = pair
    began = time.monotonic()
    for number in range(20_000):
        wire.send({"n": number, "pad": "x" * 100})
    assert time.monotonic() - began < 5
    assert len(wire._outgoing) < watch_wire.MOST_PENDING + 200
    peer.settimeout(0.2)
    data = b""
    with contextlib.suppress(TimeoutError):
        while True:
            data += peer.recv(1_000_000)
            wire.flush()
    numbers = [json.loads(line)["n"] for line in data.splitlines()]
    assert numbers == list(range(len(numbers)))


def test_a_peer_that_is_gone_raises_nothing(pair: tuple[Wire, socket.socket]) -> None:
    wire, peer = pair
    peer.close()
    for _ in range(3):
        wire.send({"a": 1})
    assert wire.receive() == []
    assert wire.closed


def test_addresses_of_this_host_end_with_loopback() -> None:
    addresses = ipv4_addresses()
    assert addresses[-1].startswith("127.")
    assert len(set(addresses)) == len(addresses)


def answering(listener: socket.socket, reply: bytes) -> threading.Thread:
    def serve() -> None:
        listener.settimeout(5)
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(reply)
            time.sleep(0.2)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def test_connect_takes_the_one_with_the_right_answer_and_keeps_what_came_with_it() -> None:
    listener, address = listen("h0")
    with listener:
        thread = answering(listener, json.dumps({"answer": address["answer"]}).encode() + b'\n{"next": 1}\n')
        wire = connect(address, rank=1, host="h0", timeout_s=5)
        assert wire.receive() == [{"next": 1}]
        wire.close()
        thread.join(5)


def test_connect_does_not_believe_a_stranger() -> None:
    listener, address = listen("h0")
    with listener:
        address["candidates"] = ["127.0.0.1"]
        thread = answering(listener, b'{"answer": "guessed"}\n')
        with pytest.raises(OSError, match=r"127\.0\.0\.1:"):
            connect(address, rank=1, host="h0", timeout_s=0.4)
        thread.join(5)


def test_connect_says_where_it_tried_and_can_be_called_off() -> None:
    listener, address = listen("h0")
    listener.close()
    began = time.monotonic()
    with pytest.raises(OSError, match=rf":{address['port']}: .*refused"):
        connect(address, rank=1, host="h1", timeout_s=0.3)
    with pytest.raises(OSError, match="no address"):
        connect({**address, "candidates": []}, rank=1, host="h1", timeout_s=60, give_up=lambda: True)
    assert time.monotonic() - began < 3


def test_secrets_are_compared_whole() -> None:
    assert same("abc", "abc")
    assert not any(same(given, "abc") for given in ("ab", "abcd", "", None, 3, "\ud800"))
