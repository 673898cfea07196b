"""What `hvd-train search` does: open the ranks, search under the watchdog, show the best trials."""

from __future__ import annotations

import os

from hvd_train.cli.arguments import SearchArguments
from hvd_train.cli.terminal import tell
from hvd_train.config import TRAIN_LOSS
from hvd_train.distributed import Placement, end_rank
from hvd_train.errors import ConfigError, UserError
from hvd_train.processes import time_limit
from hvd_train.search import Trial, load_space, presentation, require_optuna, space_for

HOW_TO_GO_ON = "Finished trials are kept, and checkpoints: go on with the same command and --resume."


def search(arguments: SearchArguments, placement: Placement) -> int:
    """Search on the ranks that are there. All ranks; the root prints. Returns the exit code."""
    if arguments.trials < 1:
        raise ConfigError(f"--trials {arguments.trials} is not possible: there is at least one trial.")
    limit_s = None if arguments.stop_after is None else time_limit(arguments.stop_after, "--stop-after")
    config = arguments.run
    if config.training.monitor == TRAIN_LOSS:
        raise ConfigError(
            "--monitor train_loss is not possible: settings are compared by what they have not been trained on. "
            "Give a metric of the validation split, such as --monitor val_loss."
        )
    space = load_space(arguments.space, config) if arguments.space else space_for(config)
    require_optuna()

    from hvd_train.distributed import open_world

    world = open_world(config.distributed, watchdog_s=config.training.watchdog_s)

    from hvd_train.cli.console import ConsoleObserver
    from hvd_train.cli.live_terminal import plain_or_live
    from hvd_train.distributed import end_continued
    from hvd_train.errors import ToBeContinued
    from hvd_train.evaluation import metric_named
    from hvd_train.events import Observer
    from hvd_train.processes import ALONE_GRACE_S, GRACE_S, Stopped
    from hvd_train.runs import guarded, how_stopped, named_after_job
    from hvd_train.schedulers import detect_job
    from hvd_train.search import SearchSettings
    from hvd_train.search import search as run_search
    from hvd_train.watchdog import Limits

    limits = Limits(watchdog_s=config.training.watchdog_s, stall_s=config.training.stall_s)
    console = plain_or_live()

    def observe(trial: Trial) -> Observer:
        if not world.is_root:
            return Observer()
        return ConsoleObserver(trial.run_dir, quiet=arguments.quiet, shows_result=False)

    try:
        grace_s = GRACE_S if placement.launcher else ALONE_GRACE_S
        with guarded(world, limits, hint=lambda: HOW_TO_GO_ON, grace_s=grace_s, saves=True) as watch:
            out = world.together(
                lambda: named_after_job(arguments.out, detect_job(os.environ), flag="--out"), on="root"
            )
            assert out is not None

            def require_new() -> None:
                if (out / "search.toml").exists() and not arguments.resume:
                    raise UserError(
                        f"{out} holds a search already. Go on with it by --resume, or choose another --out."
                    )

            world.together(require_new, on="root")
            settings = SearchSettings(
                config=config,
                space=space,
                folder=out,
                num_trials=arguments.trials,
                limit_s=limit_s,
                prunes=arguments.prune,
            )
            trials = run_search(settings, world, observe=observe, tell=console.print, watch=watch)
    except ToBeContinued as error:
        return end_continued(placement, ToBeContinued(error.what, HOW_TO_GO_ON), world.close)
    except Stopped as stopped:
        return end_rank(placement, stopped.exit_code, f"{how_stopped(stopped, placement)}. {HOW_TO_GO_ON}")
    if world.is_root:
        monitor = config.training.monitor
        known = any(trial.state == "complete" for trial in trials)
        if known:
            higher = metric_named(monitor.removeprefix("val_")).higher_is_better
            console.print(presentation.table(trials, monitor, higher_is_better=higher))
            told = f"Written to {out}: best.toml, trials.csv, search.png. Train the best: hvd-train train --config {out / 'best.toml'}"
        else:
            told = f"No trial is complete, so nothing is known yet. {out / 'trials.csv'} says how each ended."
        tell(placement, told)
    world.close()
    return 0
