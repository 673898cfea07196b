"""Training on a real cluster: the same curve as from a file, and what happens when a part of it dies."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import processes
import psutil
import pytest
from pace import Pace
from processes import BIN, mpirun
from spark_cluster import PROGRAMS, Cluster, settings, submitted

CLOSE = 1e-3
"""Of the losses after three epochs, relatively: ranks add up in another order."""
ENDS_S = 60.0
EXAMPLES = PROGRAMS.parents[2] / "examples"
# A test starts Spark, Python and TensorFlow twice on the cores of one machine.
pytestmark = pytest.mark.timeout(600)


def history(run_dir: Path) -> list[dict[str, float]]:
    found: list[dict[str, float]] = json.loads((run_dir / "report.json").read_text())["history"]
    return found


def require_equal(run_dir: Path, other: Path) -> None:
    one, two = history(run_dir), history(other)
    assert len(one) == len(two)
    for name in ("loss", "val_loss"):
        assert [row[name] for row in one] == pytest.approx([row[name] for row in two], rel=CLOSE)


@pytest.fixture(scope="module")
def from_file(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on the file, by mpirun on two ranks."""
    run_dir = tmp_path_factory.mktemp("file") / "run"
    train = [BIN / "hvd-train", "train", "--recipe", "debug", "--data", rows, "--run-dir", run_dir]
    processes.run(mpirun(2, *train), timeout_s=120)
    return run_dir


@pytest.mark.parametrize("engine", ["horovod", "tensorflow"])
def test_a_dataframe_gives_the_curve_of_the_file(
    spark: Cluster, rows: Path, from_file: Path, tmp_path: Path, engine: str
) -> None:
    finished = submitted(spark, "shuffled.py", rows, tmp_path / "run", engine)
    assert "ranks 2 epochs 3" in finished.stdout
    assert "epoch  3/3" in finished.stdout  # what rank 0 prints comes to the driver
    documents = [json.loads((run / "report.json").read_text()) for run in (from_file, tmp_path / "run")]
    assert documents[0]["data_checksum"] == documents[1]["data_checksum"]
    require_equal(tmp_path / "run", from_file)
    spark.wait_for_ranks(0)


def test_the_example_trains_and_predicts(spark: Cluster, rows: Path, tmp_path: Path) -> None:
    command = spark.submit(EXAMPLES / "spark_songs.py", rows, tmp_path / "run", "--recipe", "debug")
    finished = processes.run(command, timeout_s=240, env=settings(), cwd=tmp_path)
    assert "years on 2 ranks" in finished.stdout
    assert "predicted by the executors" in finished.stdout


def started(spark: Cluster, rows: Path, run_dir: Path, engine: str, *more: str) -> list[str | Path]:
    return spark.submit(PROGRAMS / "shuffled.py", rows, run_dir, engine, *more)


@pytest.mark.parametrize("engine", ["horovod", pytest.param("tensorflow", marks=pytest.mark.slow)])
def test_a_killed_rank_ends_the_job_and_fit_goes_on(spark: Cluster, rows: Path, tmp_path: Path, engine: str) -> None:
    pace = Pace(tmp_path, 2.0)
    command, env = started(spark, rows, tmp_path / "run", engine, "12"), {**settings(), "METRIC": pace.flags[1]}
    with processes.started(command, timeout_s=240, env=env) as job:
        job.wait_for("epoch  2/12", 150)
        victim = next(rank for rank in spark.ranks() if rank_of(rank) == "1")
        victim.send_signal(signal.SIGKILL)
        finished = job.wait(ENDS_S)
    pace.set(0.0)
    assert finished.code != 0
    assert "rank 1 on host" in finished.output
    assert "was killed by SIGKILL" in finished.output
    spark.wait_for_ranks(0)
    submitted(spark, "shuffled.py", rows, tmp_path / "run", engine)
    assert history(tmp_path / "run")[-1]["epoch"] == 12


def rank_of(process: psutil.Process) -> str:
    environment = process.environ()
    if "HOROVOD_RANK" in environment:
        return environment["HOROVOD_RANK"]
    return str(json.loads(environment["TF_CONFIG"])["task"]["index"])


def test_an_executor_that_dies_ends_the_job_by_its_host(spark: Cluster, rows: Path, tmp_path: Path) -> None:
    with processes.started(
        started(spark, rows, tmp_path / "run", "horovod", "400"), timeout_s=240, env=settings()
    ) as job:
        job.wait_for("epoch  2/400", 150)
        spark.processes("CoarseGrainedExecutorBackend")[0].send_signal(signal.SIGKILL)
        finished = job.wait(ENDS_S)
    assert finished.code != 0
    assert "is gone: the executor on this host died" in finished.output
    spark.wait_for_ranks(0)


@pytest.mark.slow  # as the test below, from another side
def test_ctrl_c_ends_all_ranks(spark: Cluster, rows: Path, tmp_path: Path) -> None:
    with processes.started(
        started(spark, rows, tmp_path / "run", "horovod", "400"), timeout_s=240, env=settings()
    ) as job:
        job.wait_for("epoch  2/400", 150)
        job.signal(signal.SIGINT)
        finished = job.wait(ENDS_S)
    assert finished.code != 0
    spark.wait_for_ranks(0)


def test_cancel_job_group_ends_all_ranks(spark: Cluster, rows: Path, tmp_path: Path) -> None:
    command = started(spark, rows, tmp_path / "run", "horovod", "400", "mine")
    finished = processes.run(command, timeout_s=240, env=settings(), ok=False)
    assert "The Spark job was cancelled. All ranks were ended." in finished.output
    spark.wait_for_ranks(0)
    shutil.rmtree(tmp_path / "run")
