"""Which run `hvd-train train` means: a new one, one to resume, or with `--resume auto` whichever of them is there.

The flags that name it are read before all others, because the config.toml of a resumed run gives those their defaults.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hvd_train.config import RunConfig, toml
from hvd_train.errors import ConfigError
from hvd_train.runs import RunDir, Stage, latest_run, named_after_job, new_run_dir, stage_of
from hvd_train.schedulers import detect_job

if TYPE_CHECKING:
    from hvd_train.cli.arguments import TrainArguments
    from hvd_train.distributed import World

# What a bare --resume stands for, until the root has found the newest run.
NEWEST = Path("newest")
# Begin the run in --run-dir, or go on with it.
AUTO = Path("auto")
# Where a run without --run-dir is written.
RUNS = Path("runs")
# Flags that decide what the defaults of the others are.
BASE = ("--recipe", "--config", "--resume")


@dataclass(frozen=True)
class Choice:
    """The run that was meant. `config` is that of the run where it has begun."""

    run_dir: RunDir
    stage: Stage
    config: RunConfig | None = None


def preliminary(argv: Sequence[str], names: Sequence[str] = BASE) -> list[str]:
    """The flags of these `names` among all."""
    flags: list[str] = []
    for index, argument in enumerate(argv):
        name, equals, _ = argument.partition("=")
        if name.replace("_", "-") in names:
            flags += [argument] if equals else list(argv[index : index + 2])
    return flags


def with_newest_run(argv: Sequence[str]) -> list[str]:
    """A bare `--resume` means the newest run."""
    argv = list(argv)
    for index, argument in enumerate(argv):
        if argument == "--resume" and (index + 1 == len(argv) or argv[index + 1].startswith("--")):
            return [*argv[: index + 1], str(NEWEST), *argv[index + 1 :]]
    return argv


def require_named_run(given: TrainArguments) -> None:
    """ConfigError for `--resume auto` without a run."""
    if given.resume == AUTO and given.run_dir is None:
        raise ConfigError(
            "--resume auto begins the run in --run-dir or goes on with it, and no --run-dir was given. Name one, such as "
            "--run-dir runs/songs (in a batch job also 'runs/songs-{job}'); a bare --resume takes the newest run."
        )


def choose_run(given: TrainArguments, world: World, *, reserve: bool = True) -> Choice:
    """The run that the flags name. All ranks; the root alone looks for it. UserError alike on all ranks."""
    found = world.together(lambda: found_run(given, reserve=reserve), on="root")
    assert found is not None
    return found


def found_run(given: TrainArguments, *, reserve: bool = True) -> Choice:
    """The same on the root alone. Without `reserve` no directory is made for a new run."""
    job = detect_job(os.environ)
    named = named_after_job(given.run_dir, job) if given.run_dir else None
    if given.resume == AUTO:
        assert named is not None
        run_dir, stage = RunDir(named), stage_of(RunDir(named))
    elif given.resume is not None:
        path = latest_run() if given.resume == NEWEST else named_after_job(given.resume, job)
        run_dir, stage = RunDir(path), "begun"
    elif named or not reserve:
        run_dir, stage = RunDir(named or RUNS / f"{given.recipe}-TIME"), "new"
    else:
        run_dir, stage = new_run_dir(given.recipe, job=job), "new"
    has_config = stage == "begun" or (stage == "complete" and not reserve and run_dir.config.is_file())
    return Choice(run_dir, stage, toml.load(run_dir.config, base=given.base()) if has_config else None)
