"""Memory that ran out is called that, with the way out: exceptions of every library, and what the kernel counts."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from hvd_train.cli import verbs
from hvd_train.errors import ConfigError
from hvd_train.processes.memory import MEMORY_RAN_OUT, WAY_OUT, OomWatch, oom_kills, ran_out
from hvd_train.watchdog.watchdog import Watchdog


class ResourceExhaustedError(Exception):
    """As TensorFlow's."""


class ArrayMemoryError(MemoryError):
    """As numpy's."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ArrayMemoryError("Unable to allocate 8.00 TiB for an array with shape (1,)"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ResourceExhaustedError("OOM when allocating tensor with shape[1]\nand more"),
        ResourceExhaustedError("{{function_node x}} failed to allocate memory"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_what_libraries_raise_when_memory_runs_out_is_known(error: Exception) -> None:
    said = ran_out(error)
    assert said is not None
    assert said.startswith("memory ran out (")
    assert said.endswith(WAY_OUT)
    assert "\n" not in said
    with pytest.raises(ValueError, match="a layer") as wrapped:
        raise ValueError("a layer") from error
    assert ran_out(wrapped.value) == said


@pytest.mark.parametrize(
    "error",
    [
        ValueError("OOM when allocating"),
        OSError(errno.ENOENT, "x"),
        ConfigError("std::bad_alloc"),
        ResourceExhaustedError("quota"),
    ],
)
def test_other_errors_are_not(error: Exception) -> None:
    assert ran_out(error) is None


def test_the_command_says_so_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def act(*_: object) -> int:
        raise MemoryError("Unable to allocate 8.00 TiB")

    monkeypatch.setitem(verbs.VERBS, "train", ("", act))
    assert verbs.main(["train"]) == MEMORY_RAN_OUT
    told = capsys.readouterr().err
    assert told == f"error: memory ran out (Unable to allocate 8.00 TiB). {WAY_OUT}\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


EVENTS = "low 0\nhigh 0\nmax 7\noom 9\noom_kill {}\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        # v2: this cgroup and those around it that are this job's own; a rank may have one by itself.
        (
            "0::/slurm.scope/job_5/step_0/task_1\n",
            {"slurm.scope/job_5/step_0/task_1": 1, "slurm.scope/job_5/step_0": 2, "slurm.scope": 99},
            3,
        ),
        ("0::/\n", {"": 4}, 4),
        # A container that is told the host's path, and has its own group at the top.
        ("0::/system.slice/docker-1.scope\n", {"": 5}, 5),
        ("0::/\n", {"unified": 6}, 6),
        ("4:memory:/box\n1:cpu:/\n", {"memory/box": 2}, 2),
        ("4:memory:/docker/1\n", {"memory": 3}, 3),
        ("1:cpu:/\n", {}, 8),
        ("", {}, 8),
    ],
)
def test_the_kernels_count_is_found(tmp_path: Path, cgroup: str, files: dict[str, int], expected: int) -> None:
    write(tmp_path / "proc/self/cgroup", cgroup)
    write(tmp_path / "proc/vmstat", "nr_free_pages 1\noom_kill 8\n")
    for folder, count in files.items():
        name = "memory.oom_control" if folder.startswith("memory") else "memory.events"
        write(tmp_path / "sys/fs/cgroup" / folder / name, EVENTS.format(count))
    assert oom_kills(tmp_path) == expected


def test_nobody_counts(tmp_path: Path) -> None:
    assert oom_kills(tmp_path) is None
    assert not OomWatch(lambda: None).happened()


def test_only_what_happened_lately_is_a_reason() -> None:
    count, now = [3], [0.0]
    watch = OomWatch(lambda: count[0], clock=lambda: now[0])
    assert not watch.happened()
    count[0] = 4
    watch.renew()
    assert watch.happened()
    for _ in range(2):  # an hour in which nothing happens
        now[0] += 1800
        watch.renew()
    assert not watch.happened()
    count[0] = 5
    assert watch.happened()


def test_a_rank_that_the_oom_killer_ended_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    watchdog = Watchdog(rank=0, size=2, host="a")
    assert watchdog.cause() == "killed, out of memory, or a crash in native code"
    monkeypatch.setattr(watchdog, "_oom", OomWatch(iter([1, 2]).__next__))
    assert "the kernel's OOM killer ended it: memory ran out. Give each rank less" in watchdog.cause()
