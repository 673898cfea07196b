"""hvd-train with a rank that fails: `python failing.py HOW RANK hvd-train's arguments...`. Started by test_failures.py.

HOW: none, before-init, data, step-1, mid-epoch (an exception there), memory (an allocation that fails), freeze (SIGSTOP in
mid-epoch), freeze-reading (as it reads a table to score or predict) or sleep (in Python, while the others wait in the next
step).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from hvd_train.cli import verbs
from hvd_train.distributed import opening
from hvd_train.distributed.launchers import detect_placement

how, rank, argv = sys.argv[1], int(sys.argv[2]), sys.argv[3:]


def once(owner: Any, name: str, act: Callable[[], None], *, when: Callable[..., bool] = lambda *_: True) -> None:
    """Let `owner.name` do `act` first, the first time that `when` holds of its arguments."""
    original = getattr(owner, name)

    def replacement(*arguments: Any, **named: Any) -> Any:
        if when(*arguments):
            setattr(owner, name, original)
            act()
        return original(*arguments, **named)

    setattr(owner, name, replacement)


def fail() -> None:
    raise ZeroDivisionError("the planted failure")


def take_all_memory() -> None:
    bytearray(1 << 60)


def freeze() -> None:
    print("freezing", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)


def sleep() -> None:
    print("sleeping", flush=True)
    time.sleep(1000)


if how != "none" and detect_placement(os.environ).rank == rank:
    if how == "before-init":
        once(opening, "open_world", fail)
    else:
        # Everything else comes after TensorFlow is set up.
        def plant() -> None:
            from hvd_train.training import setup
            from hvd_train.training.loop import TrainingLoop

            if how in ("data", "memory"):
                once(setup, "open_dataset", fail if how == "data" else take_all_memory)
                return
            if how == "freeze-reading":
                from hvd_train.inference import evaluate, predict

                once(evaluate, "own_blocks", freeze)
                once(predict, "own_blocks", freeze)
                return
            step = 1 if how == "step-1" else 20
            act = {"freeze": freeze, "sleep": sleep}.get(how, fail)
            # A rank says once a second where it is. It has said a step by then, on a fast machine too.
            after_s = 2.5 if how in ("freeze", "sleep") else 0.0
            first: list[float] = []

            def is_there(loop: Any, *_: Any) -> bool:
                first.append(time.monotonic())
                return bool(loop.step + 1 >= step and first[-1] - first[0] >= after_s)

            once(TrainingLoop, "on_train_batch_end", act, when=is_there)

        from hvd_train.runs import guard

        once(guard, "guarded", plant)

sys.exit(verbs.main(argv))
