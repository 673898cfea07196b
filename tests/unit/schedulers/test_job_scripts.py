"""Whole job scripts, compared byte for byte with those in golden/.

After a wanted change: PYTHONPATH=tests python tests/unit/schedulers/test_job_scripts.py
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from hvd_train.errors import UserError
from hvd_train.schedulers import BatchScheduler, Resources, scheduler_named, script

GOLDEN = Path(__file__).with_name("golden")
FLAGS = ("slurm", "pbs", "sge", "lsf")
PLAIN = Resources(name="songs", num_hosts=2, ranks_per_host=4, time_limit_s=7200, parallel_environment="mpi")
ALL = dataclasses.replace(
    PLAIN,
    name="songs of 2026, two hosts",
    cpus_per_rank=3,
    memory_mb_per_rank=4000,
    time_limit_s=90061,
    warning_s=300,
    queue="long",
    account="physics",
    exclusive=True,
    after="122",
    mail="alice@example.org",
    extra_directives=("--reservation=friday", "#SBATCH --hint=nomultithread"),
    skip_directives=("no directive has these words", ""),
)
ARRAY = dataclasses.replace(PLAIN, name="2-sweeps", num_hosts=1, num_tasks=10, max_parallel=2, after="122_4")
SETS = {"plain": PLAIN, "all": ALL, "array": ARRAY}


def text(flag: str, name: str) -> str:
    """A script with its log as `hvd-train submit` names it."""
    scheduler, resources = scheduler_named(flag), SETS[name]
    marks = [mark for mark in scheduler.log_marks(array=resources.num_tasks is not None) if mark]
    folder = "/data/my runs" if name == "all" else "/data/runs"
    resources = dataclasses.replace(resources, log=f"{folder}/songs-{'_'.join(marks)}.log")
    if name == "all":
        words = [line.replace("#SBATCH", scheduler.directive) for line in resources.extra_directives]
        resources = dataclasses.replace(resources, extra_directives=tuple(words))
    return script(scheduler, resources, ["cd /data || exit 3", "exec hvd-train supervise -- train"])


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("name", SETS)
def test_a_job_script_is_the_one_that_was_looked_at(flag: str, name: str) -> None:
    assert text(flag, name) == (GOLDEN / f"{flag}-{name}.sh").read_text()


def test_no_golden_script_is_left_over() -> None:
    assert sorted(path.name for path in GOLDEN.iterdir()) == sorted(f"{f}-{n}.sh" for f in FLAGS for n in SETS)


@pytest.fixture(params=FLAGS)
def scheduler(request: pytest.FixtureRequest) -> BatchScheduler:
    return scheduler_named(request.param)


def test_a_directive_is_one_line(scheduler: BatchScheduler) -> None:
    """A line break in a value would end the directive, and the rest would run as a command."""
    for change in ({"queue": "long\nrm -rf ~"}, {"extra_directives": ("--x\n--y",)}, {"mail": "a\x00b"}):
        with pytest.raises(UserError, match="must be one line"):
            scheduler.directives(dataclasses.replace(PLAIN, **change))


def test_any_directive_can_be_left_out(scheduler: BatchScheduler) -> None:
    lines = scheduler.directives(ALL)
    for line in lines:
        word = line.removeprefix(scheduler.directive).strip()
        left = scheduler.directives(dataclasses.replace(ALL, skip_directives=(word,), extra_directives=()))
        assert line not in left


def test_an_extra_directive_is_kept_whatever_is_left_out(scheduler: BatchScheduler) -> None:
    wanted = dataclasses.replace(PLAIN, extra_directives=("--mem=0",), skip_directives=("--mem",))
    assert scheduler.directives(wanted)[-1] == f"{scheduler.directive} --mem=0"


@pytest.mark.parametrize(("memory", "cpus"), [(4000, 1), (4000, 3), (1, 8), (12345, 7)])
def test_a_rank_gets_no_less_memory_than_it_asked_for(scheduler: BatchScheduler, memory: int, cpus: int) -> None:
    """Slurm and Grid Engine count memory by CPU, PBS by chunk, LSF by rank."""
    wanted = dataclasses.replace(PLAIN, memory_mb_per_rank=memory, cpus_per_rank=cpus)
    found = re.search(r"(?:mem-per-cpu=|h_vmem=|mem=)(\d+)", "\n".join(scheduler.directives(wanted)))
    assert found
    number = int(found[1])
    of_a_rank = {"slurm": number * cpus, "sge": number * cpus, "pbs": number / 4, "lsf": number}[scheduler.flag]
    assert memory <= of_a_rank < memory + cpus


def test_grid_engine_needs_a_parallel_environment_for_more_than_one_slot() -> None:
    without = dataclasses.replace(PLAIN, parallel_environment="")
    with pytest.raises(UserError, match="needs a parallel environment: give --pe NAME"):
        scheduler_named("sge").directives(without)
    one = dataclasses.replace(without, num_hosts=1, ranks_per_host=1)
    assert not any("-pe" in line for line in scheduler_named("sge").directives(one))


def test_an_array_of_one_task_is_an_array() -> None:
    """PBS refuses 0-0."""
    one = dataclasses.replace(ARRAY, num_tasks=1, max_parallel=None)
    found = {flag: "\n".join(scheduler_named(flag).directives(one)) for flag in FLAGS}
    assert "--array=0-0\n" in found["slurm"]
    assert "-J 0-1:2\n" in found["pbs"]
    assert "-t 1-1\n" in found["sge"]
    assert '-J "2-sweeps[1-1]"\n' in found["lsf"]


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for flag in FLAGS:
        for name in SETS:
            (GOLDEN / f"{flag}-{name}.sh").write_text(text(flag, name))
