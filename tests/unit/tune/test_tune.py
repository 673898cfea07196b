"""The search by itself: what is tried, who goes on, what a crash or an interruption leaves; trials are made up."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_train.config import recipes, toml
from hvd_train.errors import HvdTrainError
from hvd_train.processes import jobs
from hvd_train.tune import search as tune_search
from hvd_train.tune.halving import Outcome, Search
from hvd_train.tune.presentation import last_trials, picture, table
from hvd_train.tune.search import TuneSettings, Tuning
from hvd_train.tune.space import BASE, DIMENSIONS, Candidate, singles, together

BASE_CONFIG = recipes.DEBUG


def candidates(**changes: object) -> list[Candidate]:
    options = {"sizes": (1, 2), "global_batch_size": 64, "has_bfloat16": True} | changes
    return singles(BASE_CONFIG, **options)  # type: ignore[arg-type]


def test_every_dimension_is_tried_and_every_candidate_is_a_config() -> None:
    found = candidates()
    assert found[0] == Candidate(BASE, 2)
    assert {c.dimension for c in found[1:]} == set(DIMENSIONS)
    assert len({c.name for c in found}) == len(found)
    for candidate in found[1:]:
        config = candidate.config(BASE_CONFIG)
        assert config != BASE_CONFIG or candidate.size != 2
        assert toml.from_mapping(toml.tomllib.loads(toml.dumps(config))) == config


def test_what_the_user_has_set_is_not_tried_and_one_rank_exchanges_nothing() -> None:
    set_by_user = candidates(environment={"HOROVOD_CYCLE_TIME": "1"})
    assert "cycle-time" not in {c.dimension for c in set_by_user}
    assert {c.dimension for c in candidates(wanted=("np", "compression"))} == {"", "np", "compression"}
    alone = {c.dimension for c in candidates(sizes=(1,), has_bfloat16=False)}
    assert alone == {"", "threads", "batch", "rate-scaling"}


def test_what_helped_is_put_together_once_for_each_dimension() -> None:
    by_name = {c.name: c for c in candidates()}
    best = [by_name["cycle 1 ms"], by_name["cycle 5 ms"], by_name["fp16 gradients"], by_name["twice the batch"]]
    combined = together([*best, by_name["2 passes of half the batch"]])
    assert combined is not None
    config = combined.config(BASE_CONFIG)
    assert config.distributed.cycle_time_ms == 1.0
    assert config.distributed.compression == "fp16"
    assert config.training.global_batch_size == 128
    assert config.distributed.backward_passes_per_step == 1, "two changes of the batch do not go together"
    assert together(best[:2]) is None


def test_time_to_a_target() -> None:
    outcome = Outcome(((1.0, 3.0), (2.0, 2.0), (3.0, 2.5)))
    assert outcome.time_to(2.5) == pytest.approx(1.5)
    assert outcome.time_to(5.0) == 1.0
    assert outcome.time_to(1.9) == math.inf
    assert outcome.lowest == 2.0


def falling(speed: float, seconds: float) -> Outcome:
    """A loss of exp(-speed * t), looked at ten times."""
    return Outcome(
        tuple((seconds * n / 10, math.exp(-speed * seconds * n / 10)) for n in range(1, 11)), 100 * speed, 64
    )


@given(speeds=st.lists(st.floats(0.5, 2.0), min_size=1, max_size=12), crashes=st.sets(st.integers(0, 11)))
def test_the_fastest_wins_whatever_crashes(speeds: list[float], crashes: set[int]) -> None:
    others = [Candidate(f"c{n}", 2, {}, f"d{n}") for n in range(len(speeds))]
    rate = {BASE: 1.0} | {c.name: speed for c, speed in zip(others, speeds, strict=True)}

    def measure(candidate: Candidate, target: float, seconds: float) -> Outcome:
        if candidate in others and others.index(candidate) in crashes:
            return Outcome(error="SIGSEGV: it said nothing")
        return falling(rate.get(candidate.name, 0.1), seconds)

    search = Search()
    search.run([Candidate(BASE, 2), *others], measure, seconds=1.0, num_rungs=3)
    alive = [c for n, c in enumerate(others) if n not in crashes]
    tried = {t.candidate.name for t in search.trials}
    assert tried >= {c.name for c in others}, "the search went on after a crash"
    best = search.best()
    assert best is not None
    fastest = max((rate[c.name] for c in alive), default=0.0)
    if fastest > 1.1:
        assert rate[best.name] >= 0.95 * fastest
    elif fastest < 1.0:
        assert best.name == BASE
    assert len(last_trials(search)) == len({t.candidate.name for t in search.trials})


def test_an_interrupted_search_keeps_what_it_knows(tmp_path: Path) -> None:
    others = [Candidate("fast", 2, {"distributed": {"compression": "fp16"}}, "compression"), Candidate("never", 2)]

    def measure(candidate: Candidate, target: float, seconds: float) -> Outcome:
        if candidate.name == "never":
            raise KeyboardInterrupt
        return falling(3.0 if candidate.name == "fast" else 1.0, seconds)

    search = Search()
    with pytest.raises(KeyboardInterrupt):
        search.run([Candidate(BASE, 2), *others], measure, seconds=1.0, num_rungs=3)
    assert search.best() == others[0]
    assert table(search).row_count == 2
    assert picture(search, tmp_path / "tune.png").stat().st_size > 0


def plan(folder: Path) -> TuneSettings:
    return TuneSettings(config=BASE_CONFIG, sizes=(1, 2), dimensions=("compression", "cycle-time"), seconds=0.1, num_rungs=1,
                out=folder)  # fmt: skip


def test_a_trial_that_hangs_or_crashes_is_told_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jobs are made up, what stands around them is not."""

    def run(commands: list[list[str]], *, limit_s: float) -> None:
        spec = json.loads(commands[0][-1])
        config = toml.from_mapping(toml.tomllib.loads(spec["config"])).distributed
        if config.compression == "fp16":
            raise jobs.TrialFailed(f"not ended within {limit_s:.0f} s, which is its limit (it said nothing)")
        if config.cycle_time_ms == 1.0:
            raise jobs.TrialFailed("SIGSEGV: it said nothing")
        speed = 2.0 if config.cycle_time_ms == 0.2 else 1.0
        outcome = falling(speed, spec["seconds"])
        answer = {"curve": outcome.curve, "samples_per_s": 100, "global_batch_size": 64}
        Path(spec["out"]).write_text(json.dumps(answer))

    monkeypatch.setattr(tune_search.jobs, "run", run)
    monkeypatch.setattr(tune_search.jobs, "mpirun", lambda np, program, hostfile=None: ["mpirun", *program])
    told: list[str] = []
    tuning = Tuning(plan(tmp_path), told.append, {})
    tuning.run()
    kept = json.loads((tmp_path / "tune.json").read_text())
    assert {t["name"] for t in kept["trials"] if t["error"]} == {"fp16 gradients", "cycle 1 ms"}
    assert any(line.startswith("fp16 gradients: not ended within") for line in told)
    tuned = tuning.write_tuned()
    assert tuned is not None
    assert "horovodrun -np 2 hvd-train train --config" in tuned.read_text()
    assert toml.load(tuned).distributed.cycle_time_ms == 0.2


def test_a_recipe_that_does_not_train_at_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise jobs.TrialFailed("exit code 2: error: no such file")

    monkeypatch.setattr(tune_search.jobs, "run", run)
    tuning = Tuning(plan(tmp_path), lambda _: None, {})
    with pytest.raises(HvdTrainError, match=r"as it is does not train on 2 ranks: exit code 2: error: no such file"):
        tuning.run()
    assert tuning.write_tuned() is None
