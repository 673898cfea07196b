"""The search itself: the root asks for a trial, all ranks train it together, and the root notes how it ended. All ranks.

A trial is an ordinary run in DIR/trials, so its batches do not depend on the number of ranks, and trials of jobs with other numbers of
ranks can be compared.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from hvd_train.config import DistributedConfig, RunConfig, toml
from hvd_train.distributed import World
from hvd_train.errors import HvdTrainError, MissingEnvironment, RankFailure, ToBeContinued, UserError
from hvd_train.evaluation import metric_named
from hvd_train.events import Observer, Watch
from hvd_train.files import write_text
from hvd_train.runs import RunDir, TrainingState, checkpoint, stage_of
from hvd_train.search.presentation import settings_of, write_results
from hvd_train.search.space import Space, applied
from hvd_train.search.study import Study, StudySettings, Trial
from hvd_train.training import train_and_evaluate


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """What is searched, and how long."""

    config: RunConfig
    space: Space
    folder: Path
    num_trials: int
    limit_s: float | None = None
    """No trial begins later than this many seconds after the first."""
    prunes: bool = True


class Pruned(HvdTrainError):
    """A trial that is worse than the others. Raised on every rank after the same epoch."""


def search(
    settings: SearchSettings,
    world: World,
    *,
    observe: Callable[[Trial], Observer] = lambda _: Observer(),
    tell: Callable[[str], None] = lambda _: None,
    watch: Watch | None = None,
) -> list[Trial]:
    """Train trials until there are enough; returns all of the study, on every rank. All ranks; the root asks and writes.

    After each trial DIR/best.toml, DIR/trials.csv and DIR/search.png are those of what is known. An interrupted trial is resumed by the next call.

    Raises:
        UserError: alike on every rank. The first trial of a study cannot be trained, for instance because the table is missing.
    """
    started = time.monotonic()
    chosen = StudySettings(num_trials=settings.num_trials, seed=settings.config.training.seed, prunes=settings.prunes)
    with contextlib.ExitStack() as held:
        studies: list[Study] = []  # of the root alone: not a result, which would be sent to the other ranks

        def open_study() -> None:
            begin(settings)
            studies.append(held.enter_context(Study(settings.folder, settings.space, chosen)))

        world.together(open_study, on="root")
        while True:
            late = settings.limit_s is not None and time.monotonic() - started > settings.limit_s
            if world.broadcast(late):
                break
            trial = world.together(lambda: studies[0].next(), on="root")
            if trial is None:
                break
            if world.is_root:
                tell(f"Trial {trial.number + 1} of {settings.num_trials}: {settings_of(trial)}")
            ended, score = _train(trial, settings, world, studies, observe, watch)

            def note(ended: Trial = ended, score: float | None = score) -> None:
                studies[0].finish(ended, score)
                write_results(studies[0], settings.config)
                _drop_checkpoints(ended)

            world.together(note, on="root")
            if world.is_root:
                tell(f"Trial {trial.number + 1} {_how(ended)}")
        trials = world.together(lambda: write_results(studies[0], settings.config), on="root")
    assert trials is not None
    return trials


def begin(settings: SearchSettings) -> None:
    """Note what is searched, or compare it with what was noted. UserError where it is another search. Root only."""
    # How ranks exchange gradients decides no result, so another job may do it in another way.
    config = settings.config.replace(distributed=DistributedConfig())
    space = "".join(f"# {key}: {entry}\n" for key, entry in settings.space.items())
    text = f"# What is searched:\n{space}{toml.dumps(config)}"
    settings.folder.mkdir(parents=True, exist_ok=True)
    path = settings.folder / "search.toml"
    try:
        known = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        write_text(path, text)
        return
    if known != text:
        first = next(b or a for a, b in itertools.zip_longest(known.splitlines(), text.splitlines()) if a != b)
        raise UserError(
            f"{settings.folder} holds a search with other settings (now: {first.removeprefix('# ')}). Give the settings of its "
            "search.toml, or another directory with --out."
        )


def _train(
    trial: Trial,
    settings: SearchSettings,
    world: World,
    studies: list[Study],
    observe: Callable[[Trial], Observer],
    watch: Watch | None,
) -> tuple[Trial, float | None]:
    """The trial as it ended, and its score. All ranks."""
    started = time.monotonic()
    keras.backend.clear_session()
    pruning = Pruning(trial, settings.config.training.monitor, world, studies)
    begun = world.together(lambda: stage_of(trial.run_dir), on="root")
    before: TrainingState | None = TrainingState()
    try:
        before = world.together(lambda: _state_of(trial.run_dir), on="root")
        assert before is not None
        pruning.note(row[pruning.monitor] for row in before.history)
        config = applied(settings.config, trial.values)
        train_and_evaluate(
            config, world, trial.run_dir, resume=begun != "new", callbacks=[observe(trial), pruning], watch=watch
        )
        state, note = "complete", ""
    except Pruned:
        state, note = "pruned", ""
    except (ToBeContinued, RankFailure, MissingEnvironment):
        raise
    except HvdTrainError as error:  # alike on every rank: a user's error, or a loss that is no number
        first = world.together(
            lambda: not any(t.state in ("complete", "pruned") for t in studies[0].trials()), on="root"
        )
        if first and isinstance(error, UserError):
            failed = replace(trial, state="failed", note=str(error))
            world.together(lambda: studies[0].finish(failed, None), on="root")
            raise
        state, note = "failed", str(error)
    best = pruning.best
    seconds = (before.wall_seconds if before else 0.0) + time.monotonic() - started
    ended = replace(trial, state=state, value=best, seconds=seconds, note=note)
    return ended, None if state == "failed" or best is None else pruning.score(best)


class Pruning(keras.callbacks.Callback):  # type: ignore[misc]
    """Notes the monitored metric after each epoch, and ends a trial that is worse than the others. Every rank has one."""

    def __init__(self, trial: Trial, monitor: str, world: World, studies: list[Study]) -> None:
        super().__init__()
        self.trial, self.monitor, self.world, self.studies = trial, monitor, world, studies
        self.best: float | None = None

    def score(self, value: float) -> float:
        """The smaller the better."""
        return -value if metric_named(self.monitor.removeprefix("val_")).higher_is_better else value

    def note(self, values: Iterable[float]) -> None:
        """The metric after some epochs, also after those before a resume."""
        for value in filter(math.isfinite, values):
            if self.best is None or self.score(value) < self.score(self.best):
                self.best = value

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        value = float(logs[self.monitor])
        self.note([value])
        if self.world.together(
            lambda: self.studies[0].report(self.trial.number, epoch + 1, self.score(value)), on="root"
        ):
            raise Pruned(f"trial {self.trial.number} was pruned after epoch {epoch + 1}")


def _state_of(run_dir: RunDir) -> TrainingState:
    """Of a trial that was interrupted, as its last checkpoint has it. Root only."""
    return checkpoint.load(run_dir.last).state if run_dir.last.exists() else TrainingState()


def _drop_checkpoints(trial: Trial) -> None:
    """A trial that has ended is never resumed. Root only."""
    shutil.rmtree(trial.run_dir.last.parent, ignore_errors=True)


def _how(trial: Trial) -> str:
    if trial.state == "failed":
        return f"failed: {trial.note}"
    value = "" if trial.value is None else f", best {trial.value:.5g}"
    return f"{'was pruned' if trial.state == 'pruned' else 'is complete'}{value}, {trial.seconds:.0f} s"
