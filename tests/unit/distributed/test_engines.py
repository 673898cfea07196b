"""The table of engines, and how a rank ends after an error."""

from __future__ import annotations

import pytest

from hvd_train.distributed import failure, settings
from hvd_train.distributed.cores import Machine
from hvd_train.distributed.engines import choose_engine
from hvd_train.distributed.failure import Ending, end_block, ending_of
from hvd_train.distributed.placement import Placement
from hvd_train.distributed.solo import SoloWorld
from hvd_train.distributed.world import World
from hvd_train.errors import ConfigError, DataError, MissingEnvironment
from hvd_train.processes.signals import Stopped

ALONE = Placement(0, 1, 0, 1, "h", "")
SECOND = Placement(1, 2, 1, 2, "h", "mpirun")


def test_one_process_needs_no_engine_of_several() -> None:
    assert choose_engine(ALONE) == "solo"
    assert choose_engine(SECOND) == "horovod"


def world() -> SoloWorld:
    return SoloWorld(ALONE, settings.choose(ALONE, Machine((0,)), {}))


def test_the_block_of_a_world_closes_it_and_lets_one_rank_s_exceptions_through(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[World] = []
    monkeypatch.setattr(SoloWorld, "close", lambda self: closed.append(self))
    with world() as opened:
        assert opened.size == 1
    assert closed == [opened]
    with pytest.raises(KeyError), world():
        raise KeyError("x")
    assert len(closed) == 1
    with pytest.raises(SystemExit), world():
        raise SystemExit(0)
    assert len(closed) == 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DataError("no rows"), Ending(2, "error: no rows")),
        (MissingEnvironment("no MPI"), Ending(3, "error: no MPI", everywhere=True)),
        (SystemExit(), Ending(0)),
        (SystemExit(7), Ending(7)),
        (SystemExit("enough"), Ending(1, "enough", everywhere=True)),
        (KeyboardInterrupt(), Ending(130, "stopped")),
        (Stopped(15), Ending(143, "stopped by SIGTERM")),
    ],
)
def test_an_error_has_one_ending(error: BaseException, expected: Ending) -> None:
    assert ending_of(error, SECOND) == expected


def test_memory_that_ran_out_and_defects_are_a_rank_s_own() -> None:
    memory = ending_of(MemoryError(), SECOND)
    assert (memory.code, memory.everywhere) == (5, True)
    assert memory.message.startswith("error: memory ran out")
    defect = ending_of(ValueError("wrong"), SECOND)
    assert (defect.code, defect.everywhere) == (1, True)
    assert defect.message.endswith("error: rank 1 on host h failed: ValueError: wrong")


def test_a_rank_that_fails_alone_with_a_shared_error_writes_it_after_the_root_had_its_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []
    left: list[int] = []
    monkeypatch.setattr(failure.time, "sleep", slept.append)
    monkeypatch.setattr(failure, "leave", left.append)
    end_block(SECOND, ending_of(ConfigError("wrong width"), SECOND))
    assert (slept, left) == ([failure.LET_ROOT_SPEAK_S], [2])
    assert capsys.readouterr().err == "[rank 1 on host h] error: wrong width\n"
    end_block(Placement(0, 2, 0, 2, "h", "mpirun"), ending_of(ConfigError("wrong width"), SECOND))
    assert (len(slept), left) == (1, [2, 2])
    assert capsys.readouterr().err == "error: wrong width\n"
    end_block(ALONE, ending_of(ConfigError("wrong width"), ALONE))
    assert len(left) == 2
