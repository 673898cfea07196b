"""The study on disk: which trials there were, which one comes next, and whether a trial ends early. Root only.

Optuna draws the values (TPE, Bergstra et al. 2011) and keeps the study in a file to which several jobs may write. What one
job draws depends on the seed and on the trials so far, not on how often the search was interrupted.

A trial belongs to the job that holds the lock of its owner. A job that dies gives it back, and the next one goes on with it from
its last checkpoint.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hvd_train.errors import MissingEnvironment, UserError
from hvd_train.files import open_lock
from hvd_train.runs import RunDir, holder, lock_directory
from hvd_train.search.space import Choices, Space

NAME = "search"
# Of the lock that jobs hold while they ask for a trial. That takes them a moment.
ASK_S = 120.0
POLL_S = 0.1
# The median of so few trials says little, and so does an epoch before this one.
TRIALS_BEFORE_PRUNING, EPOCHS_BEFORE_PRUNING = 5, 3
TRIALS_AT_RANDOM = 10


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial of a study."""

    number: int
    """From 0, as Optuna counts. Users see them from 1 on."""
    values: dict[str, Any]
    """By "section.field"."""
    run_dir: RunDir
    state: str = "running"
    """running, complete, pruned or failed."""
    value: float | None = None
    """Of the monitored metric at its best epoch."""
    seconds: float | None = None
    note: str = ""
    """Why it failed."""


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """What a study is asked for."""

    num_trials: int
    seed: int
    prunes: bool


def require_optuna() -> None:
    """MissingEnvironment unless Optuna is installed. Any process."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise MissingEnvironment(
            "hvd-train search needs Optuna, which is not installed. Install it: pip install hvd_train[search]."
        ) from None


@dataclass
class Study:
    """A study in a directory. Close it by leaving its `with` block."""

    folder: Path
    space: Space
    settings: StudySettings
    _study: Any = None
    _own: dict[int, contextlib.ExitStack] = field(default_factory=dict)

    def __enter__(self) -> Study:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with _quiet():
            storage = JournalStorage(JournalFileBackend(str(self.folder / "study.log")))
            pruner = optuna.pruners.MedianPruner(TRIALS_BEFORE_PRUNING, EPOCHS_BEFORE_PRUNING)
            self._study = optuna.create_study(
                storage=storage,
                study_name=NAME,
                load_if_exists=True,
                direction="minimize",
                pruner=pruner if self.settings.prunes else optuna.pruners.NopPruner(),
            )
        return self

    def __exit__(self, *_: object) -> None:
        for held in self._own.values():
            held.close()

    def next(self) -> Trial | None:
        """The trial that this job trains next: one that a job left behind, or a new one. None where there are enough.

        UserError where other jobs hold the study for too long.
        """
        with _alone(self.folder / "ask.lock"), _quiet():
            for frozen in self._study.get_trials(deepcopy=False):
                if frozen.state.name == "RUNNING" and self._take(frozen.number):
                    return self._trial(frozen)
            known = len(self._study.get_trials(deepcopy=False))
            if known >= self.settings.num_trials:
                return None
            self._study.sampler = self._sampler(known)
            asked = self._study.ask()
            for key, entry in self.space.items():
                _suggest(asked, key, entry)
            self._take(asked.number)
            frozen = next(t for t in self._study.get_trials(deepcopy=False) if t.number == asked.number)
            return self._trial(frozen)

    def report(self, number: int, epoch: int, score: float) -> bool:
        """Note the score after an epoch, the smaller the better. Returns whether the trial is worse than the median so far."""
        import optuna

        with _quiet():
            trial = optuna.trial.Trial(self._study, self._id(number))
            trial.report(score, epoch)
            return bool(trial.should_prune())

    def finish(self, trial: Trial, score: float | None) -> None:
        """Note how a trial ended, and give it back. `score` where it is complete or was pruned."""
        from optuna.trial import TrialState

        number = trial.number
        state = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}[trial.state]
        storage, trial_id = self._study._storage, self._id(number)
        with _quiet():
            for name in ("value", "seconds", "note"):
                storage.set_trial_user_attr(trial_id, name, getattr(trial, name))
            ends = state in (TrialState.COMPLETE, TrialState.PRUNED) and score is not None
            storage.set_trial_state_values(trial_id, state, [score] if ends else None)
        self._own.pop(number).close()

    def trials(self) -> list[Trial]:
        """All trials, by number."""
        with _quiet():
            return [self._trial(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def best(self) -> Trial | None:
        """The complete trial with the best score."""
        with _quiet():
            complete = [t for t in self._study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
        return self._trial(min(complete, key=lambda t: (t.value, t.number))) if complete else None

    def _take(self, number: int) -> bool:
        """Whether this job owns the trial from now on. Call it under the lock."""
        folder = self.folder / "owners" / f"{number + 1:04d}"
        if number in self._own or holder(folder) is not None:
            return False
        held = contextlib.ExitStack()
        held.enter_context(lock_directory(folder, what="The trial", flag="DIR"))
        self._own[number] = held
        return True

    def _sampler(self, known: int) -> Any:
        import optuna

        # A new one for each trial: what it draws then depends on no earlier call of this process.
        return optuna.samplers.TPESampler(
            seed=self.settings.seed * 100_003 + known,
            n_startup_trials=TRIALS_AT_RANDOM,
            multivariate=True,
            constant_liar=True,
        )

    def _id(self, number: int) -> int:
        return int(self._study._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number))

    def _trial(self, frozen: Any) -> Trial:
        values = {}
        for key, entry in self.space.items():
            if key in frozen.params:
                drawn = frozen.params[key]
                values[key] = entry.values[entry.names.index(drawn)] if isinstance(entry, Choices) else drawn
        return Trial(
            number=frozen.number,
            values=values,
            run_dir=RunDir(self.folder / "trials" / f"{frozen.number + 1:04d}"),
            state={"RUNNING": "running", "COMPLETE": "complete", "PRUNED": "pruned"}.get(frozen.state.name, "failed"),
            **{name: frozen.user_attrs.get(name) for name in ("value", "seconds")},
            note=frozen.user_attrs.get("note") or "",
        )


def _suggest(trial: Any, key: str, entry: Any) -> None:
    if isinstance(entry, Choices):
        trial.suggest_categorical(key, entry.names)
    elif entry.is_whole:
        trial.suggest_int(key, entry.low, entry.high, log=entry.log)
    else:
        trial.suggest_float(key, entry.low, entry.high, log=entry.log)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """The block runs in one job at a time. UserError where the others take too long."""
    descriptor = open_lock(path)
    deadline = time.monotonic() + ASK_S
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UserError(
                        f"{path} was held by another job for {ASK_S:.0f} s. End it, or search in another directory."
                    ) from None
                time.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's warnings that a part of it is experimental, or that an epoch was reported before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
