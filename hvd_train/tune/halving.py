"""Successive halving over settings, by the time to a target. Pure: what measures is given.

In a rung every candidate that is left trains interleaved with the others. The recipe as it is comes first, for as long as
the rung lasts; its lowest validation loss is the rung's target, and the others are timed to it. The better half goes on to
the next rung, which is twice as long. (Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and
Hyperparameter Optimization", arXiv 1502.07943.) In the end the changes that helped are tried together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hvd_train.tune.space import BASE, Candidate, together

# A candidate may take so many times the rung's length before it counts as not having come to the target.
PATIENCE = 1.5
# Better than the recipe as it is by less than this is noise.
WORTH_IT = 0.97


@dataclass(frozen=True)
class Outcome:
    """What a trial found. `curve` are (seconds of training, validation loss), ascending in time."""

    curve: tuple[tuple[float, float], ...] = ()
    samples_per_s: float = math.nan
    global_batch_size: int = 0
    error: str = ""
    """Why there is nothing: it crashed, hung, or was refused."""

    @property
    def lowest(self) -> float:
        losses = [loss for _, loss in self.curve if math.isfinite(loss)]
        return min(losses, default=math.inf)

    def time_to(self, target: float) -> float:
        """Seconds until the loss first came to `target`, between two looks by a straight line; inf where it never did."""
        before: tuple[float, float] | None = None
        for seconds, loss in self.curve:
            if loss <= target:
                if before is None or not math.isfinite(before[1]) or before[1] == loss:
                    return seconds
                share = (before[1] - target) / (before[1] - loss)
                return before[0] + share * (seconds - before[0])
            before = (seconds, loss)
        return math.inf


@dataclass(frozen=True)
class Trial:
    """One candidate in one rung."""

    candidate: Candidate
    rung: int
    target: float
    outcome: Outcome

    @property
    def time_to_target(self) -> float:
        return self.outcome.time_to(self.target)

    @property
    def rank_by(self) -> tuple[float, float]:
        """Sooner is better; of those that never came there, the lower loss."""
        return (self.time_to_target, self.outcome.lowest)


Measure = Callable[[Candidate, float, float], Outcome]
"""(candidate, target loss, most seconds of training) -> what it found; it returns crashes, it does not raise them."""


@dataclass
class Search:
    """The trials so far; `run` goes on until the end or until `measure` is interrupted, and what is known stays."""

    trials: list[Trial] = field(default_factory=list)

    def run(
        self, candidates: Sequence[Candidate], measure: Measure, *, seconds: float, num_rungs: int,
        after_trial: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """Halve `candidates`, the first of which is the recipe as it is, in `num_rungs` rungs; the first lasts `seconds`."""
        base, left = candidates[0], list(candidates[1:])
        for rung in range(num_rungs):
            length = seconds * 2**rung
            results = self._rung(rung, base, left, measure, length, after_trial)
            if not results:
                return
            left = [trial.candidate for trial in results[: max(1, len(results) // 2)]]
        combined = together([c for c in self.ranking() if c.name != BASE and self.gain(c) < WORTH_IT])
        if combined is not None:
            finalist = [combined, *left[:1]]
            self._rung(num_rungs, base, finalist, measure, seconds * 2 ** (num_rungs - 1), after_trial)

    def _rung(
        self, rung: int, base: Candidate, others: Sequence[Candidate], measure: Measure, length: float,
        after_trial: Callable[[], None],
    ) -> list[Trial]:  # fmt: skip
        """The others' trials that gave a figure, best first."""
        first = measure(base, -math.inf, length)
        target = first.lowest
        self.trials.append(Trial(base, rung, target, first))
        after_trial()
        if first.error:  # without a target nothing can be compared
            return []
        for candidate in others:
            outcome = measure(candidate, target, PATIENCE * length)
            self.trials.append(Trial(candidate, rung, target, outcome))
            after_trial()
        own = [trial for trial in self.trials if trial.rung == rung and trial.candidate != base]
        return sorted((t for t in own if not t.outcome.error), key=lambda t: t.rank_by)

    def gain(self, candidate: Candidate) -> float:
        """Its time to the target as a share of the recipe's own, in the last rung that it took part in."""
        own = [trial for trial in self.trials if trial.candidate == candidate]
        if not own:
            return math.inf
        base = next(t for t in self.trials if t.rung == own[-1].rung and t.candidate.name == BASE)
        return own[-1].time_to_target / base.time_to_target

    def ranking(self) -> list[Candidate]:
        """All that were tried, best first: who came into a later rung, then by the gain there. A crash is last."""
        last: dict[str, Trial] = {trial.candidate.name: trial for trial in self.trials}

        def key(trial: Trial) -> tuple[bool, int, float, float]:
            gain = 1.0 if trial.candidate.name == BASE else self.gain(trial.candidate)
            return (bool(trial.outcome.error), -trial.rung, gain, trial.outcome.lowest)

        return [trial.candidate for trial in sorted(last.values(), key=key)]

    def best(self) -> Candidate | None:
        """What to use: the best where it is better than the recipe as it is by more than noise. None: nothing is known."""
        known = [trial for trial in self.trials if not trial.outcome.error]
        if not known:
            return None
        base = next((t.candidate for t in known if t.candidate.name == BASE), None)
        first = self.ranking()[0]
        if base is not None and first.name != BASE and not self.gain(first) < WORTH_IT:
            return base
        return first
