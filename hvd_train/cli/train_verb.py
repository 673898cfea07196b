"""What `hvd-train train` does: find out which run it is, open the ranks, train under the watchdog.

On a resumed run the flags are read three times. The first time only for --resume, --recipe and --config, which decide
the defaults of the others. The second time for the settings that come before TensorFlow and MPI start. The third time
over the config.toml of the run, which the root reads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from hvd_train.cli.arguments import TrainArguments, preliminary, run_to_resume, with_newest_run
from hvd_train.cli.terminal import parse
from hvd_train.config import RunConfig
from hvd_train.distributed import Placement, World, end_rank
from hvd_train.errors import ConfigError
from hvd_train.runs import RunDir, require_trackers

PROG = "hvd-train train"


def train(argv: Sequence[str], placement: Placement) -> int:
    """Train on the ranks that are there. All ranks; the root prints. Returns the exit code."""
    argv = with_newest_run(argv)
    given = parse(TrainArguments, preliminary(argv), placement, prog=PROG)
    arguments = over(given.base(), argv, placement) if not given.resume else before_resume(argv, given, placement)
    first = arguments.run
    require_trackers(first.training.trackers)

    from hvd_train.distributed import open_world

    world = open_world(first.distributed, watchdog_s=first.training.watchdog_s)

    from hvd_train.cli.console import ConsoleObserver
    from hvd_train.distributed import gathering
    from hvd_train.processes import Stopped
    from hvd_train.runs import how_stopped, last_checkpoint_line
    from hvd_train.training import train_guarded

    with gathering(placement, "learn which run it is", limit_s=first.training.watchdog_s):
        if given.resume:
            config, run_dir = resumed_run(argv, given, placement, world)
        else:
            config, run_dir = arguments.run, new_run(arguments, world)
    callbacks = [ConsoleObserver(run_dir)] if world.is_root else []
    try:
        train_guarded(config, world, run_dir, resume=given.resume is not None, callbacks=callbacks)
    except Stopped as stopped:
        return end_rank(
            placement, stopped.exit_code, f"{how_stopped(stopped, placement)}. {last_checkpoint_line(run_dir)}"
        )
    world.close()
    return 0


def before_resume(argv: Sequence[str], given: TrainArguments, placement: Placement) -> TrainArguments:
    """The flags of a resumed run without the config.toml of the run, which the other hosts may not have.

    Its distributed settings and limits are needed before TensorFlow and MPI start, and must be the same on all hosts.
    """
    base = given.base()
    try:
        return over(base, argv, placement)
    except ConfigError:  # flags that are valid only over the settings of the run
        return TrainArguments(run=base)


def over(base: RunConfig, argv: Sequence[str], placement: Placement) -> TrainArguments:
    """All flags, with the values of `base` as their defaults."""
    return parse(TrainArguments, argv, placement, prog=PROG, default=TrainArguments(run=base))


def resumed_run(
    argv: Sequence[str], given: TrainArguments, placement: Placement, world: World
) -> tuple[RunConfig, RunDir]:
    """The config and the directory of the run that --resume names. All ranks; the root alone looks for it."""
    resume: Any = given.resume
    found = world.together(lambda: run_to_resume(resume, given.base()), on="root")
    assert found is not None
    path, config = found
    return over(config, argv, placement).run, RunDir(path)


def new_run(arguments: TrainArguments, world: World) -> RunDir:
    """The directory of a new run: --run-dir, or one that the root makes now. All ranks."""
    from hvd_train.runs import new_run_dir
    from hvd_train.schedulers import detect_job

    wanted, recipe = arguments.run_dir, arguments.recipe
    run_dir = world.together(
        lambda: RunDir(wanted) if wanted else new_run_dir(recipe, job=detect_job(os.environ)), on="root"
    )
    assert run_dir is not None
    return run_dir
