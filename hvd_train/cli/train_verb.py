"""What `hvd-train train` does: find out which run it is, open the ranks, train under the watchdog.

On a resumed run the flags are read three times. The first time only for those that say which run it is and decide the
defaults of the others (which_run.py). The second time for the settings that come before TensorFlow and MPI start. The third time
over the config.toml of the run, which the root reads.
"""

from __future__ import annotations

from collections.abc import Sequence

from hvd_train.cli.arguments import TrainArguments
from hvd_train.cli.terminal import parse, tell
from hvd_train.cli.which_run import BASE, choose_run, found_run, preliminary, require_named_run, with_newest_run
from hvd_train.config import RunConfig
from hvd_train.distributed import Placement, end_rank
from hvd_train.errors import ConfigError
from hvd_train.processes import early_end, time_limit
from hvd_train.runs import require_trackers

PROG = "hvd-train train"


def train(argv: Sequence[str], placement: Placement) -> int:
    """Train on the ranks that are there. All ranks; the root prints. Returns the exit code."""
    argv = with_newest_run(argv)
    given = parse(TrainArguments, preliminary(argv, (*BASE, "--run-dir", "--stop-after")), placement, prog=PROG)
    require_named_run(given)
    if asks_for(argv, "--print-config"):
        return print_config(given, argv, placement)
    arguments = over(given.base(), argv, placement) if not given.resume else before_resume(argv, given, placement)
    first = arguments.run
    if given.stop_after is not None:
        early_end.stop_after(time_limit(given.stop_after, "--stop-after"))
    require_trackers(first.training.trackers)

    from hvd_train.distributed import open_world

    world = open_world(first.distributed, watchdog_s=first.training.watchdog_s, lean=True)

    from hvd_train.cli.console import ConsoleObserver
    from hvd_train.distributed import end_continued, gathering
    from hvd_train.errors import ToBeContinued
    from hvd_train.processes import ALONE_GRACE_S, GRACE_S, Stopped
    from hvd_train.runs import how_stopped, last_checkpoint_line
    from hvd_train.training import train_guarded

    rehearses = asks_for(argv, "--dry-run")
    with gathering(placement, "learn which run it is", limit_s=first.training.watchdog_s):
        choice = choose_run(given, world, reserve=not rehearses)
    run_dir = choice.run_dir
    if choice.stage == "complete":
        world.close()
        return tell(placement, f"{run_dir.path} is complete, so nothing is trained. Its results: {run_dir.report}")
    config = over(choice.config or given.base(), argv, placement).run if given.resume else arguments.run
    if rehearses:
        from hvd_train.cli.train.dry_run import run_dry

        return run_dry(config, world, run_dir, placement, resume=choice.stage == "begun")
    callbacks = [ConsoleObserver(run_dir, quiet=asks_for(argv, "--quiet"))] if world.is_root else []
    grace_s = GRACE_S if placement.launcher else ALONE_GRACE_S
    try:
        train_guarded(config, world, run_dir, resume=choice.stage == "begun", callbacks=callbacks, grace_s=grace_s)
    except ToBeContinued as error:
        return end_continued(placement, error, world.close)
    except Stopped as stopped:
        return end_rank(
            placement, stopped.exit_code, f"{how_stopped(stopped, placement)}. {last_checkpoint_line(run_dir)}"
        )
    world.close()
    return 0


def asks_for(argv: Sequence[str], flag: str) -> bool:
    """Whether a flag without a value is among these, which may be written with underscores.

    Read like this since the other flags of a resumed run may be valid only over its own settings.
    """
    return any(argument.replace("_", "-") == flag for argument in argv)


def print_config(given: TrainArguments, argv: Sequence[str], placement: Placement) -> int:
    """Print the settings of the run, and nothing else. The root alone looks for a run that is resumed."""
    from hvd_train.cli.train.print_config import described

    base = given.base()
    if given.resume is not None:
        if not placement.is_root:
            return 0
        base = found_run(given, reserve=False).config or base
    return tell(placement, described(over(base, argv, placement).run))


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
