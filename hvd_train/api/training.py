"""hvd_train.train: a run from Python, with the same checks, files and messages as from the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hvd_train.api.tables import with_table
from hvd_train.api.world import open_world
from hvd_train.cli import ConsoleObserver
from hvd_train.config import RunConfig, absolute, reference_to, toml
from hvd_train.distributed import World, gathering
from hvd_train.errors import ConfigError
from hvd_train.events import Observer
from hvd_train.processes import GRACE_S, time_limit
from hvd_train.runs import Report, RunDir, Stage, named_after_job, new_run_dir, read_report, stage_of
from hvd_train.schedulers import detect_job


def train(
    data: Any = None,
    *,
    label: str | None = None,
    labels: Any = None,
    config: RunConfig | None = None,
    network: Callable[..., Any] | str | None = None,
    network_options: Mapping[str, Any] | None = None,
    run_dir: str | Path | None = None,
    resume: bool | Literal["auto"] = False,
    callbacks: Sequence[Any] = (),
    stop_after: str | float | None = None,
    verbose: bool = True,
    world: World | None = None,
) -> Report:
    """Train a network, keep its best epoch, score it, and write everything to a run directory. All ranks.

        report = hvd_train.train("songs.csv")
        report = hvd_train.train(frame, label="species", config=hvd_train.recipe("leaves"))

    Args:
        data: a file (CSV, Parquet, LIBSVM, .npz, .ts), a dataset directory, a DataFrame, or an array (N, F) or (N, L, C).
            By default what `config` names, which without a path are the embedded synthetic songs.
        label: the column to predict, by its name or its number counted from 1.
        labels: (N,) or one-hot (N, K), where they are not a column of `data`.
        config: all settings; by default `RunConfig()`.
        network: a function of your own, (N, L, C) -> (N, U) in Keras layers, or its reference "file.py:name". If it
            takes `config`, that is a dataclass of its own settings.
        network_options: values for fields of that dataclass.
        run_dir: where to write; by default a new directory in runs/. {job} in it stands for the id of the batch job.
        resume: go on from the last checkpoint in `run_dir`. Without `config`, with the settings of that run. With "auto"
            the run begins where there is no checkpoint; of a run that is complete the report is returned.
        callbacks: Keras callbacks, which every rank runs, and Observers, which the root runs.
        stop_after: end so long after this call, in seconds or as "H:MM" or "H:MM:SS", with what was done saved.
        verbose: print facts, progress and results, as the command line does. Root only.
        world: the ranks; by default those of this process.

    Returns:
        The report, on every rank: metrics and baselines by split, history, versions. It is report.json as an object.

    Raises:
        UserError: alike on every rank, for what you can correct: a table, a setting, a run directory that is in use or
            holds a run already.
        ToBeContinued: after SIGUSR1, SIGUSR2, SIGXCPU or `stop_after`, on every rank. What was done is saved, and
            `resume=True` goes on from it. `exit_code` is the code by which a supervisor knows this end. A handler of your
            own for such a signal takes precedence.
        KeyboardInterrupt: on Ctrl-C and SIGTERM. The last checkpoint is complete, and `resume=True` goes on from it.
    """
    if resume not in (True, False, "auto"):
        raise ConfigError(f'resume = {resume!r} is not possible: it is True, False or "auto".')
    if resume and run_dir is None:
        raise ConfigError(f"resume = {resume!r} is not possible without a run: name its directory by run_dir.")
    stop_after_s = None if stop_after is None else time_limit(stop_after, "stop_after")
    chosen = config or RunConfig()
    world = world or open_world(chosen.distributed, watchdog_s=chosen.training.watchdog_s)
    with gathering(world.placement, "learn which run it is", limit_s=chosen.training.watchdog_s):
        directory, stage = _which_run(run_dir, world)
        if resume == "auto" and stage == "complete":
            report = world.together(lambda: read_report(directory), on="root")
            assert report is not None
            return report
        resumed = resume is True or (resume == "auto" and stage == "begun")
        if resumed and config is None:
            saved = world.together(lambda: toml.load(directory.config), on="root")
            assert saved is not None
            chosen = saved
    if network is not None:
        chosen = _with_network(chosen, network, network_options or {})
    chosen = with_table(chosen, data, label=label, labels=labels, world=world)
    shown: list[Observer] = [ConsoleObserver(directory)] if verbose and world.is_root else []
    from hvd_train.training import train_guarded  # after the settings: it loads TensorFlow

    # One rank may be a notebook, which must outlive a Ctrl-C that comes in the middle of a long step.
    grace_s = None if world.size == 1 else GRACE_S
    return train_guarded(
        chosen,
        world,
        directory,
        resume=resumed,
        callbacks=[*shown, *callbacks],
        grace_s=grace_s,
        stop_after_s=stop_after_s,
    )


def _which_run(run_dir: str | Path | None, world: World) -> tuple[RunDir, Stage]:
    """The directory of the run, which is made where none was named, and how far the run has come. All ranks."""

    def look() -> tuple[RunDir, Stage]:
        job = detect_job(os.environ)
        found = RunDir(named_after_job(Path(run_dir), job)) if run_dir else new_run_dir("python", job=job)
        return found, stage_of(found)

    found = world.together(look, on="root")
    assert found is not None
    return found


def _with_network(config: RunConfig, network: Callable[..., Any] | str, options: Mapping[str, Any]) -> RunConfig:
    """`config` with a user's network and the values of its own settings."""
    name = absolute(network) if isinstance(network, str) else reference_to(network, key="network")
    return config.replace(model={"name": name, "options": tuple(f"{key}={value}" for key, value in options.items())})
