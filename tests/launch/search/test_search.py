"""hvd-train search: what is asked for next, on disk and between jobs; two ranks that are killed and go on. Needs Optuna."""

from __future__ import annotations

import csv
import signal
import sys
from pathlib import Path

import psutil
import pytest
from pace import Pace
from processes import BIN, Job, mpirun, run, started

from hvd_train.config import toml
from hvd_train.search.space import Choices, Range

pytest.importorskip("optuna", reason="make extras installs Optuna")

from hvd_train.search.study import Study, StudySettings, Trial

pytestmark = pytest.mark.extra
SPACE = {"optimizer.base_learning_rate": Range(low=1e-4, high=1e-2, log=True), "model.kernel_size": Range(low=1, high=7), "model.filters": Choices(([8], [8, 8]))}  # fmt: skip
SEARCH = [BIN / "hvd-train", "search", "--recipe", "debug", "--num-songs", "2000"]
LIMIT_S = 240.0


def study(folder: Path, *, num_trials: int = 6, seed: int = 0, prunes: bool = True) -> Study:
    return Study(folder, SPACE, StudySettings(num_trials=num_trials, seed=seed, prunes=prunes))


def ended(trial: Trial, value: float, state: str = "complete") -> Trial:
    return Trial(number=trial.number, values=trial.values, run_dir=trial.run_dir, state=state, value=value, seconds=1.0)


def drawn(folder: Path, number: int, *, again: bool, seed: int = 0) -> list[dict[str, object]]:
    """The values of so many trials, each of a study opened anew where `again`."""
    found = []
    held = study(folder, num_trials=number, seed=seed).__enter__()
    for _ in range(number):
        trial = held.next()
        assert trial is not None
        found.append(trial.values)
        held.finish(ended(trial, len(str(trial.values))), float(len(str(trial.values))))
        if again:
            held.__exit__()
            held = study(folder, num_trials=number, seed=seed).__enter__()
    assert held.next() is None
    held.__exit__()
    return found


def test_what_is_drawn_depends_on_the_seed_and_not_on_interruptions(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    whole = drawn(tmp_path / "a", 14, again=False)
    assert drawn(tmp_path / "b", 14, again=True) == whole
    assert drawn(tmp_path / "c", 2, again=False, seed=1) != whole[:2]
    for values in whole:
        assert 1e-4 <= values["optimizer.base_learning_rate"] <= 1e-2  # type: ignore[operator]
        assert values["model.kernel_size"] in range(1, 8)
        assert values["model.filters"] in ([8], [8, 8])


def test_two_jobs_share_the_trials_and_a_dead_one_gives_its_own_back(tmp_path: Path) -> None:
    with study(tmp_path, num_trials=3) as one:
        first = one.next()
        with study(tmp_path, num_trials=3) as two:
            second = two.next()
            assert first is not None
            assert second is not None
            assert (first.number, second.number) == (0, 1)
            assert first.run_dir.path == tmp_path / "trials" / "0001"
        # The second job is gone, and its trial is not complete.
        taken = one.next()
        assert taken is not None
        assert (taken.number, taken.values) == (1, second.values)
        third = one.next()
        assert third is not None
        assert third.number == 2
        assert one.next() is None
        one.finish(ended(first, 2.0), 2.0)
        one.finish(ended(taken, 1.0), 1.0)
        one.finish(Trial(number=2, values={}, run_dir=third.run_dir, state="failed", note="too wide"), None)
        best = one.best()
        assert best is not None
        assert (best.number, best.value) == (1, 1.0)
        assert [trial.state for trial in one.trials()] == ["complete", "complete", "failed"]
        assert one.trials()[2].note == "too wide"
    assert not list((tmp_path / "owners").rglob("*"))


def test_a_trial_worse_than_the_median_is_pruned_unless_pruning_is_off(tmp_path: Path) -> None:
    for prunes in (True, False):
        folder = tmp_path / str(prunes)
        folder.mkdir()
        with study(folder, num_trials=7, prunes=prunes) as held:
            told = []
            for number in range(7):
                trial = held.next()
                assert trial is not None
                last = number == 6
                told += [held.report(number, epoch, 9.0 if last else 1.0 + number / 10) for epoch in range(1, 6)]
                held.finish(ended(trial, 1.0), 1.0)
        assert any(told[:-5]) is False or prunes
        assert told[-5:] == [False, False, prunes, prunes, prunes]


def of(rows: list[dict[str, str]], name: str) -> list[str]:
    return [row[name] for row in rows]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def rank(job: Job, number: int) -> psutil.Process:
    return next(p for p in job.processes() if p.environ().get("OMPI_COMM_WORLD_RANK") == str(number))


def test_two_ranks_that_were_killed_end_with_what_one_rank_finds(tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    space.write_text("[optimizer.base_learning_rate]\nlow = 1e-4\nhigh = 1e-2\nlog = true\n")
    pace = Pace(tmp_path, 0.0)
    flags = ["--space", space, "--trials", "3", "--num-epochs", "4", *pace.flags, "--resume"]
    run([*SEARCH, *flags, "--out", tmp_path / "whole"], timeout_s=LIMIT_S)
    pace.set(2.0)
    command = mpirun(2, *SEARCH, *flags, "--out", tmp_path / "parted")
    with started(command, timeout_s=LIMIT_S) as job:
        job.wait_for("Trial 1 is complete", timeout_s=LIMIT_S)
        job.wait_for("epoch  2/4", timeout_s=LIMIT_S)
        rank(job, 1).send_signal(signal.SIGKILL)
        finished = job.wait(LIMIT_S)
    assert finished.code != 0
    assert of(table(tmp_path / "parted"), "state") == ["complete"]
    pace.set(0.0)
    finished = run(mpirun(2, *SEARCH, *flags, "--out", tmp_path / "parted"), timeout_s=LIMIT_S)
    assert "Trial 2 of 3" in finished.stdout
    assert "Trial 1 of 3" not in finished.stdout
    found, wanted = table(tmp_path / "parted"), table(tmp_path / "whole")
    for name in ("trial", "state", "optimizer.base_learning_rate"):
        assert of(found, name) == of(wanted, name)
    assert [float(v) for v in of(found, "val_loss")] == pytest.approx(
        [float(v) for v in of(wanted, "val_loss")], rel=1e-3
    )
    best = toml.load(tmp_path / "parted" / "best.toml")
    assert best.optimizer.base_learning_rate in [float(v) for v in of(found, "optimizer.base_learning_rate")]
    assert (tmp_path / "parted" / "search.png").stat().st_size > 1000
    for trial in ("0001", "0002", "0003"):
        assert not (tmp_path / "parted" / "trials" / trial / "checkpoints").exists()
    # The same command again finds nothing to do; other settings are refused, and so is the same without --resume.
    assert "Best trials of 3" in run([*SEARCH, *flags, "--out", tmp_path / "parted"], timeout_s=LIMIT_S).stdout
    other = run([*SEARCH, *flags, "--out", tmp_path / "parted", "--noise", "0.5"], timeout_s=LIMIT_S, ok=False)
    assert other.code == 2
    assert "holds a search with other settings (now: noise = 0.5)" in other.stderr
    new = run([*SEARCH, *flags[:-1], "--out", tmp_path / "parted"], timeout_s=LIMIT_S, ok=False)
    assert new.code == 2
    assert "Go on with it by --resume" in new.stderr


def test_a_table_that_is_missing_ends_the_search_and_not_trial_after_trial(tmp_path: Path) -> None:
    command = [BIN / "hvd-train", "search", "--data", "none.csv", "--out", tmp_path / "out"]
    finished = run(command, timeout_s=LIMIT_S, ok=False, cwd=tmp_path)
    assert finished.code == 2
    assert finished.stderr.count("error:") == 1
    assert "none.csv" in finished.stderr


PRUNED = """
import sys
from pathlib import Path
from hvd_train.config import recipes
from hvd_train.distributed import open_world
world = open_world()
from hvd_train.search import SearchSettings, search, study
from hvd_train.search.space import Choices
study.Study.report = lambda self, number, epoch, score: number == 2 and epoch == 2
config = recipes.recipe("debug").replace(table={"num_songs": 2000}, training={"seed": 5})
space = {"model.dense_units": Choices(([16], [0], [32]))}
settings = SearchSettings(config=config, space=space, folder=Path(sys.argv[1]), num_trials=3)
for trial in search(settings, world):
    print(trial.state, trial.values, trial.note)
"""


def test_a_pruned_trial_and_an_impossible_one_do_not_end_the_search(tmp_path: Path) -> None:
    finished = run([sys.executable, "-c", PRUNED, tmp_path / "out"], timeout_s=LIMIT_S)
    rows = table(tmp_path / "out")
    assert of(rows, "model.dense_units") == ["[16]", "[0]", "[32]"]  # as this seed draws them
    assert of(rows, "state") == ["complete", "failed", "pruned"], finished.stdout
    assert "dense_units = (0,) is not possible" in rows[1]["note"]
    assert (tmp_path / "out" / "trials" / "0003" / "metrics.csv").read_text().count("\n") == 3
    assert not (tmp_path / "out" / "trials" / "0003" / "checkpoints").exists()
    assert toml.load(tmp_path / "out" / "best.toml").model.dense_units == (16,)
