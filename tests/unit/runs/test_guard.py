"""The guard around work, as a Python program uses it: in another thread, in a notebook, with messages to the caller."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from hvd_train.config import DistributedConfig
from hvd_train.distributed import SoloWorld, World, detect_placement
from hvd_train.distributed.cores import Machine
from hvd_train.distributed.settings import choose
from hvd_train.events import Watch
from hvd_train.processes import Stopped
from hvd_train.runs.guard import guarded
from hvd_train.watchdog import Limits


@pytest.fixture
def world() -> World:
    placement, machine = detect_placement({}), Machine((0,))
    return SoloWorld(placement, choose(placement, machine, {}, config=DistributedConfig()))


def interrupted(number: int, *, then_busy_s: float = 0.0) -> None:
    """Work that a signal interrupts, and that needs some time to end."""
    try:
        os.kill(os.getpid(), number)
        time.sleep(5)
    finally:
        time.sleep(then_busy_s)


def test_a_signal_is_raised_in_the_block_and_nothing_is_printed(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="SIGTERM") as stopped, guarded(world, Limits(), hint=lambda: "a hint"):
        interrupted(signal.SIGTERM)
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert isinstance(stopped.value, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGTERM) == before
    assert capfd.readouterr() == ("", "")


def test_without_a_grace_time_a_long_computation_outlives_ctrl_c(world: World) -> None:
    """A notebook: Python code that takes long to be interrupted must not cost the whole process."""
    with pytest.raises(Stopped, match="SIGINT"), guarded(world, Limits(), hint=lambda: "", grace_s=None):
        interrupted(signal.SIGINT, then_busy_s=1.0)  # longer than the usual grace time


def test_in_another_thread_the_work_is_guarded_without_signals(world: World) -> None:
    results: list[object] = []

    def work() -> None:
        try:
            with guarded(world, Limits(), hint=lambda: "") as watch:
                watch.phase("a step", waits_for_others=False)
                results.append(world.watch is watch)
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert results == [True]
    assert type(world.watch) is Watch
