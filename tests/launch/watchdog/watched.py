"""A job in miniature for test_watchdog.py: ranks that step and wait, watched, without TensorFlow or MPI.

    mpirun -np N python watched.py DIRECTORY SECONDS [ASLEEP_RANK]

Each rank writes its process id to DIRECTORY/pid.RANK, works for SECONDS (a number, or one per rank with commas) and
leaves in good order. ASLEEP_RANK reads its data for ever from step 10 on, while the others wait for it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from hvd_train.processes.signals import Stopped, stop_handler
from hvd_train.watchdog.watchdog import Limits, Watchdog

RANK, SIZE = (int(os.environ[f"OMPI_COMM_WORLD_{key}"]) for key in ("RANK", "SIZE"))
DIRECTORY = Path(sys.argv[1])


def write(name: str, text: str) -> None:
    scratch = DIRECTORY / f".{name}.{RANK}"
    scratch.write_text(text)
    scratch.replace(DIRECTORY / name)


def broadcast(address: dict[str, Any]) -> dict[str, Any]:
    board = DIRECTORY / "address"
    if RANK == 0:
        write("address", json.dumps(address))
    while not board.exists():
        time.sleep(0.01)
    return dict(json.loads(board.read_text()))


def train(watchdog: Watchdog, seconds: float, asleep: bool, waits: bool) -> None:
    ends = time.monotonic() + seconds
    step = 0
    while time.monotonic() < ends:
        step += 1
        watchdog.phase(f"step {step if step < 10 else 10} of epoch 1", waits_for_others=True)
        if step == 10:
            write(f"pid.{RANK}", str(os.getpid()))
            if asleep or waits:
                where = "reading rows" if asleep else "step 10 of epoch 1"
                watchdog.phase(where, waits_for_others=waits)
                time.sleep(seconds)
        watchdog.progress(step)
        time.sleep(0.02)


def main() -> None:
    seconds = [float(text) for text in sys.argv[2].split(",")]
    sleeper = int(sys.argv[3]) if len(sys.argv) > 3 else -1
    watchdog = Watchdog.start(
        rank=RANK,
        size=SIZE,
        host=socket.gethostname(),
        broadcast=broadcast,
        limits=Limits(watchdog_s=1.5, stall_s=2),
        hint=lambda: "The last checkpoint is runs/x.",
    )
    with stop_handler(lambda: f"rank {RANK} was stopped", on_signal=lambda _: watchdog.stopping()):
        try:
            train(watchdog, seconds[RANK % len(seconds)], sleeper == RANK, sleeper not in (-1, RANK))
        except Stopped as stopped:
            sys.exit(stopped.exit_code)
        finally:
            watchdog.close()


main()
