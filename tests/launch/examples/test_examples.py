"""Every example runs as its first lines say, on two ranks and some on one, and ends with what it promises."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from processes import REPOSITORY, Finished, horovodrun, run

EXAMPLES = REPOSITORY / "examples"
# What each prints when it did its work.
PROMISED = {
    "quickstart.py": "mean absolute error",
    "own_table.py": "accuracy on rows held out",
    "own_network.py": "trivial baseline",
    "resume.py": "3 epochs in all",
    "horovod_script.py": "accuracy",
}
# What the others show is tested by itself, so they wait for `make test-rest`.
QUICK = ("quickstart.py", "horovod_script.py")
ON_ONE_RANK = ("quickstart.py", "resume.py")
RUNS = [(name, 2) for name in QUICK]
RUNS += [pytest.param(name, 2, marks=pytest.mark.slow) for name in PROMISED if name not in QUICK]
RUNS += [pytest.param(name, 1, marks=pytest.mark.slow) for name in ON_ONE_RANK]


def ran(np: int, *command: str | Path, cwd: Path) -> Finished:
    line = [sys.executable, *map(str, command)]
    finished = run(horovodrun(np, *line) if np > 1 else line, timeout_s=150, cwd=cwd)
    assert finished.code == 0, str(finished)
    assert not finished.left_behind
    return finished


@pytest.mark.timeout(200)
@pytest.mark.parametrize(("name", "np"), RUNS)
def test_an_example_runs(tmp_path: Path, name: str, np: int) -> None:
    finished = ran(np, EXAMPLES / name, cwd=tmp_path)
    assert PROMISED[name] in finished.stdout, str(finished)
    if name == "quickstart.py" and np == 1:
        predicted = ran(1, EXAMPLES / "predict_in_keras.py", "runs/quickstart/model.keras", cwd=tmp_path)
        assert predicted.stdout.strip().startswith("[")
    if name == "own_network.py":  # in a program that does not import the example
        scored = run(["hvd-train", "evaluate", "runs/own-network"], timeout_s=100, cwd=tmp_path)
        assert "trivial baseline" in scored.stdout


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_network_of_the_example_trains_from_the_command_line(tmp_path: Path) -> None:
    command = ["hvd-train", "train", "--recipe", "debug", "--model", f"{EXAMPLES}/own_network.py:wide"]
    finished = run(horovodrun(2, *command, "--run-dir", tmp_path / "run"), timeout_s=150, cwd=tmp_path)
    assert finished.code == 0, str(finished)


@pytest.mark.slow  # every part of it is tested by itself
@pytest.mark.timeout(200)
def test_the_hostfile_job_runs_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("localhost slots=2\n")
    rows = ["year,a,b", *(f"{1990 + i % 20},{i % 7},{i * i % 11}" for i in range(600))]
    (tmp_path / "songs.csv").write_text("\n".join(rows) + "\n")
    job = [EXAMPLES / "hostfile_job.sh", tmp_path / "hosts", tmp_path / "songs.csv", "--recipe", "debug"]
    finished = run([str(word) for word in job], timeout_s=150, cwd=tmp_path)
    assert finished.code == 0, str(finished)
    assert "ranks" in finished.stdout


def test_every_example_is_run() -> None:
    # The one of Spark runs in tests/spark, and the server in test_serving.py.
    tested = {*PROMISED, "predict_in_keras.py", "hostfile_job.sh", "serve.py", "spark_songs.py"}
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")} == tested
