"""Starts the trials of a search, each in processes of its own with a limit, and keeps what is known after every one."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hvd_train.config import RunConfig, toml
from hvd_train.distributed import cpu_flags, has_bfloat16
from hvd_train.errors import HvdTrainError
from hvd_train.files import write_json, write_text
from hvd_train.processes import jobs
from hvd_train.tune.halving import Outcome, Search, Trial
from hvd_train.tune.space import BASE, Candidate, singles

# A trial may take so much longer than its training: TensorFlow starts and compiles, and looks at the validation loss.
START_LIMIT_S, LIMIT_FACTOR = 120.0, 5.0

Told = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """What is searched, and how long."""

    config: RunConfig
    sizes: tuple[int, ...]
    dimensions: tuple[str, ...]
    seconds: float
    num_rungs: int
    out: Path
    hostfile: Path | None = None
    start_limit_s: float = START_LIMIT_S


class Tuning:
    """One search. `search` holds what is known at any moment, also after an interruption."""

    def __init__(self, settings: TuneSettings, told: Told, environment: Mapping[str, str]) -> None:
        self.settings, self.told, self.environment = settings, told, environment
        self.search = Search()
        self._last_base: tuple[float, Outcome] | None = None

    def run(self) -> None:
        """The whole search; HvdTrainError where the recipe as it is cannot be measured."""
        settings = self.settings
        base = Candidate(BASE, max(settings.sizes))
        first = self.measure(base, -math.inf, settings.seconds)
        if first.error:
            raise HvdTrainError(f"The recipe as it is does not train on {base.size} ranks: {first.error}.")
        self._last_base = (settings.seconds, first)
        candidates = singles(
            settings.config,
            sizes=settings.sizes,
            global_batch_size=first.global_batch_size,
            has_bfloat16=has_bfloat16(cpu_flags(), None),
            wanted=settings.dimensions,
            environment=self.environment,
        )
        self.told(f"{len(candidates)} candidates: {', '.join(c.name for c in candidates)}")
        self.search.run(
            candidates, self._measure, seconds=settings.seconds, num_rungs=settings.num_rungs, after_trial=self._keep
        )

    def _measure(self, candidate: Candidate, target: float, seconds: float) -> Outcome:
        # The first rung's first trial is the one that said what the batch is.
        known, self._last_base = self._last_base, None
        if known is not None and candidate.name == BASE and known[0] == seconds:
            return known[1]
        return self.measure(candidate, target, seconds)

    def measure(self, candidate: Candidate, target: float, seconds: float) -> Outcome:
        """One trial in processes of its own. A crash, a refusal or a hang is an outcome, too."""
        settings = self.settings
        with tempfile.TemporaryDirectory(prefix="hvd_train-tune-") as scratch:
            out = Path(scratch) / "answer"
            try:
                spec: dict[str, Any] = {
                    "config": toml.dumps(candidate.config(settings.config)),
                    "target": target if math.isfinite(target) else None,
                    "seconds": seconds,
                    "out": str(out),
                }
                program = [sys.executable, "-m", "hvd_train.tune.rank_program", json.dumps(spec)]
                if candidate.size > 1:
                    program = jobs.mpirun(candidate.size, program, hostfile=settings.hostfile)
                jobs.run([program], limit_s=settings.start_limit_s + LIMIT_FACTOR * seconds)
                answer = json.loads(out.read_text())
            except (HvdTrainError, OSError, ValueError) as error:
                self.told(f"{candidate.name}: {error}")
                return Outcome(error=str(error))
        curve = tuple((float(at), float(loss)) for at, loss in answer["curve"])
        outcome = Outcome(curve, answer["samples_per_s"], answer["global_batch_size"])
        self.told(
            f"{candidate.name}: {outcome.samples_per_s:,.0f} samples/s, loss {outcome.lowest:.4f} in {curve[-1][0]:.1f} s"
        )
        return outcome

    def _keep(self) -> None:
        write_json(self.settings.out / "tune.json", self.result())

    def result(self) -> dict[str, Any]:
        """All trials, as tune.json holds them."""
        best = self.search.best()
        return {
            "best": None if best is None else asdict(best),
            "trials": [self._plain(trial) for trial in self.search.trials],
            "config": asdict(self.settings.config),
            "sizes": self.settings.sizes,
        }

    def _plain(self, trial: Trial) -> dict[str, Any]:
        return {
            **asdict(trial.candidate),
            "rung": trial.rung,
            "target": trial.target,
            "time_to_target": trial.time_to_target,
            **asdict(trial.outcome),
        }

    def write_tuned(self) -> Path | None:
        """tuned.toml with the best that is known, for `hvd-train train --config`; None where nothing is."""
        best = self.search.best()
        if best is None:
            return None
        path = self.settings.out / "tuned.toml"
        launcher = f"horovodrun -np {best.size} " if best.size > 1 else ""
        head = (
            f"# Found by hvd-train tune: {best.name}, {best.size} rank{'s' if best.size > 1 else ''}.\n"
            f"#     {launcher}hvd-train train --config {path}\n"
        )
        write_text(path, head + toml.dumps(best.config(self.settings.config)))
        return path
