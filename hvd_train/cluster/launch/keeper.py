"""Runs one rank on its host for `hvd-train launch`: finds a free port, starts the rank, and ends it with the launcher.

It is run as a file, so that it starts at once and needs nothing but Python. It speaks with the launcher over its standard
input and output:

    keeper:    hvd_train keeper PORT         the port that is free on this host
    launcher:  {"command": [...], "environment": {...}, "folder": "..."}
    launcher:  15                            a signal for the rank, any number of times

After that its output is that of the rank, and its exit code is the rank's (128 + the number of a signal). When its standard input
ends, the launcher is gone, and it ends the rank.
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

GREETING = "hvd_train keeper"
# Below the ports that Linux gives to connections, which could take one before the rank listens.
FIRST_PORT, LAST_PORT = 15_000, 32_000
TRIES = 200
# A rank whose launcher is gone has this long between SIGTERM and SIGKILL.
LEAVE_S = 5.0


def free_port() -> socket.socket:
    """A socket that holds a free port."""
    for _ in range(TRIES):
        holder = socket.socket()
        try:
            holder.bind(("", random.randint(FIRST_PORT, LAST_PORT)))
            holder.listen()
        except OSError:
            holder.close()
            continue
        return holder
    raise SystemExit(f"no free port was found between {FIRST_PORT} and {LAST_PORT}")


def send(group: int, number: int) -> None:
    """Send a signal to the rank and to all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def obey(rank: "subprocess.Popen[bytes]") -> None:
    """Pass on the signals that the launcher sends, until it is gone."""
    for line in sys.stdin:
        if line.strip().isdecimal():
            send(rank.pid, int(line))
    send(rank.pid, signal.SIGCONT)
    send(rank.pid, signal.SIGTERM)
    time.sleep(LEAVE_S)
    send(rank.pid, signal.SIGKILL)


def main() -> int:
    # The launcher speaks for all signals: a terminal or an ssh may send them to this process as well.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    holder = free_port()
    sys.stdout.write(f"{GREETING} {holder.getsockname()[1]}\n")
    sys.stdout.flush()
    order = sys.stdin.readline()
    if not order.strip():
        return 1  # the launcher is gone
    given = json.loads(order)
    folder = given["folder"]
    holder.close()
    try:
        rank = subprocess.Popen(
            given["command"],
            env={**os.environ, **given["environment"]},
            cwd=folder if os.path.isdir(folder) else None,
            stdin=subprocess.DEVNULL,
            preexec_fn=take_signals,
            start_new_session=True,
        )
    except OSError as error:
        sys.stderr.write(f"error: {given['command'][0]} cannot be started: {error.strerror}\n")
        return 127
    threading.Thread(target=obey, args=(rank,), daemon=True).start()
    code = rank.wait()
    send(rank.pid, signal.SIGKILL)  # what it has left behind
    return code if code >= 0 else 128 - code


def take_signals() -> None:
    """An ignored signal would stay ignored in the rank."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
