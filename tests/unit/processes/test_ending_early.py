"""Warning signals are noted, stops can wait, and a limit of time counts like a warning."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from hvd_train.processes import REASONS, TIME_LIMIT, WARNING_SIGNALS, EarlyEnd, Stopped, stop_handler, stop_on


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in WARNING_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def sent(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", WARNING_SIGNALS)
def test_a_warning_is_noted_and_interrupts_nothing(number: signal.Signals) -> None:
    early = EarlyEnd()
    early.listen()
    assert early.reason == ""
    sent(number)
    assert early.reason == early.warning == number.name
    assert early.reason in REASONS
    sent(signal.SIGUSR2)  # the first one counts
    assert early.reason == number.name


def test_the_time_is_over() -> None:
    now = [100.0]
    early = EarlyEnd(clock=lambda: now[0])
    early.stop_after(60)
    now[0] = 159.9
    assert early.reason == ""
    now[0] = 160.0
    assert early.reason == TIME_LIMIT
    early.stop_after(10, from_now=True)
    assert early.reason == ""


def test_in_a_block_signals_are_noted_and_afterwards_all_is_as_before() -> None:
    early = EarlyEnd()
    with stop_handler(lambda: "") as stop, early.listening(stop):
        sent(signal.SIGUSR1)
        assert early.warning == "SIGUSR1"
    assert early.warning == ""
    assert [signal.getsignal(number) for number in WARNING_SIGNALS] == [signal.SIG_DFL] * 3


def test_a_handler_of_the_user_stays() -> None:
    heard = []
    signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    early = EarlyEnd()
    with stop_handler(lambda: "") as stop, early.listening(stop):
        sent(signal.SIGUSR1)
        assert (heard, early.warning) == ([signal.SIGUSR1], "")


def test_a_stop_that_waits_is_a_reason_and_interrupts_later() -> None:
    early = EarlyEnd()
    with stop_handler(lambda: "", grace_s=None) as stop, early.listening(stop):
        early.let_stops_wait()
        sent(signal.SIGUSR1)
        sent(signal.SIGTERM)
        assert (early.reason, early.warning) == ("SIGTERM", "SIGUSR1")
        with pytest.raises(Stopped, match="SIGTERM"):
            early.let_stops_interrupt()
        stop.release()


def test_a_stop_interrupts_at_once_where_nothing_can_be_saved() -> None:
    early = EarlyEnd()
    with stop_handler(lambda: "", grace_s=None) as stop, early.listening(stop):
        early.let_stops_wait()
        early.let_stops_interrupt()
        with pytest.raises(Stopped, match="SIGTERM"):
            sent(signal.SIGTERM)
        stop.release()


def test_in_another_thread_nothing_is_installed() -> None:
    found = []

    def work() -> None:
        early = EarlyEnd()
        with stop_handler(lambda: "") as stop, early.listening(stop):
            early.let_stops_wait()
            found.append(signal.getsignal(signal.SIGUSR1))
            early.let_stops_interrupt()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert found == [signal.SIG_DFL]


def test_a_program_with_nothing_to_save_stops() -> None:
    stop_on()
    with pytest.raises(Stopped, match="SIGUSR1") as stopped:
        sent(signal.SIGUSR1)
    assert stopped.value.exit_code == 138
