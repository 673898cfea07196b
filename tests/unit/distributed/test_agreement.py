"""Ranks agree on an early end at the same place, and ask each other no more often than it is cheap."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from hvd_train.distributed import Agreement, World
from hvd_train.distributed.agreement import COST, LONGEST_S, interval
from hvd_train.processes import REASONS, TIME_LIMIT


class Ranks:
    """A few threads that add arrays up together."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.sums = 0
        self._barrier = threading.Barrier(size)
        self._arrays: dict[int, np.ndarray] = {}

    def add(self, rank: int, array: np.ndarray) -> np.ndarray:
        self._arrays[rank] = array
        self._barrier.wait(10)
        total = np.sum([self._arrays[r] for r in range(self.size)], axis=0)
        self.sums += rank == 0
        self._barrier.wait(10)
        return total

    def world(self, rank: int) -> World:
        class Fake:
            size, is_root = self.size, rank == 0

            @staticmethod
            def allreduce_sum(array: np.ndarray, *, name: str = "") -> np.ndarray:
                return self.add(rank, array)

        Fake.rank = rank  # type: ignore[attr-defined]
        return cast(World, Fake())

    def run(self, work: Callable[[int, World], Any]) -> list[Any]:
        results: list[Any] = [None] * self.size

        def rank_program(rank: int) -> None:
            results[rank] = work(rank, self.world(rank))

        threads = [threading.Thread(target=rank_program, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        return results


class Clock:
    """A rank's clock that its own loop moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.0002  # a question takes so long
        return self.now


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("warned", ["first", "last", "all"])
def test_all_ranks_end_at_the_same_place_for_the_same_reason(size: int, warned: str) -> None:
    who = {"first": [0], "last": [size - 1], "all": list(range(size))}[warned]

    def work(rank: int, world: World) -> tuple[int, str]:
        clock = Clock()
        agreement = Agreement(world, clock=clock)
        for execution in range(100):
            reason = agreement.reason("SIGUSR1" if rank in who and execution >= 3 else "")
            if reason:
                return execution, reason
            agreement.executed()
            clock.now += 0.01
        return -1, ""

    results = Ranks(size).run(work)
    assert len(set(results)) == 1
    execution, reason = results[0]
    assert reason == "SIGUSR1"
    assert execution >= 3


def test_a_stop_comes_before_a_warning_and_a_warning_before_the_limit() -> None:
    own = [TIME_LIMIT, "SIGUSR2", "SIGTERM"]
    assert Ranks(3).run(lambda rank, world: Agreement(world).reason(own[rank])) == ["SIGTERM"] * 3
    assert Ranks(2).run(lambda rank, world: Agreement(world).reason(own[rank])) == ["SIGUSR2"] * 2
    assert REASONS[:2] == ("SIGINT", "SIGTERM")


def test_they_ask_seldom_enough_to_be_cheap_and_all_alike() -> None:
    ranks = Ranks(2)

    def work(rank: int, world: World) -> list[int]:
        clock = Clock()
        agreement, asked = Agreement(world, clock=clock), []
        for execution in range(400):
            agreement.executed()
            if agreement.is_due():
                asked.append(execution)
            agreement.reason("")
            clock.now += 0.005 * (1 + rank)  # clocks that differ
        return asked

    first, second = ranks.run(work)
    assert first == second
    assert ranks.sums == len(first)
    assert set(np.diff(first)[2:]) == {interval(0.0051, 0.0002)} == {10}  # by the clock of the root


def test_an_epoch_of_few_executions_and_a_long_validation_begins_with_a_question() -> None:
    """Executions of a millisecond made the ranks ask after 500 of them: ten epochs of 49, with their validations."""

    def work(rank: int, world: World) -> tuple[int, list[int]]:
        clock = Clock()
        agreement, intervals = Agreement(world, clock=clock), []
        for epoch in range(5):
            if agreement.reason("SIGUSR1" if epoch >= 3 else "", always=True):
                return epoch, intervals
            for _ in range(49):
                agreement.executed()
                clock.now += 0.0001
                agreement.reason("")
                intervals.append(agreement.interval)
            agreement.reason("", always=True)
            clock.now += 2.0
            intervals.append(agreement.interval)
        return -1, intervals

    (epoch, intervals), other = Ranks(2).run(work)
    assert (epoch, intervals) == other
    assert epoch == 3
    assert max(intervals) > 3 * 49
    assert intervals[-1] == intervals[-2], "a question after no execution tells nothing of how long one takes"


def test_the_interval() -> None:
    assert interval(10.0, 0.0002) == 1
    for execution_s, cost_s in ((0.001, 0.0003), (0.03, 0.0003), (0.004, 0.001)):
        count = interval(execution_s, cost_s)
        assert cost_s / (count * execution_s) <= COST
        assert (count - 1) * execution_s < cost_s / COST
    assert interval(0.01, 1.0) * 0.01 == pytest.approx(LONGEST_S)  # a network so slow that a stop would have no time
