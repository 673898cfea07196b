"""--engine tensorflow: ranks without MPI and Horovod train what the others train, and end as the others end."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import time
from pathlib import Path

import numpy
import psutil
import pytest
from pace import Pace
from processes import BIN, Finished, Job, mpirun, run, started

HVD_TRAIN = BIN / "hvd-train"
HOST = socket.gethostname()
OWN_NETS = Path(__file__).parents[1] / "models" / "own_nets.py"
# Dropout and noise, and an epoch whose end is not the end of a step that others share.
FLAGS = ["--recipe", "debug", "--num-songs", "2000", "--num-epochs", "3", "--conv-dropout", "0.2", "--noise", "0.2"]
ONE_STEP = ["--num-epochs", "1", "--global-batch-size", "1536"]
WITHOUT_MEMORY = ["--automatic", "affinity", "threads", "quiet"]
STEP_1, CURVE = 1e-6, 1e-3
WATCHDOG_S = 6
# Of a rank that is gone, from its end to that of the job.
SOON_S = 30.0
# Stands in for horovod and mpi4py, as on a machine that has neither.
HIDDEN = "raise ImportError('hidden by a test')\n"


def launch(np: int, *command: str | Path) -> list[str]:
    return [str(HVD_TRAIN), "launch", "--np", str(np), "--", *map(str, command)]


def train(run_dir: Path, *flags: str) -> list[str]:
    return ["train", *FLAGS, "--run-dir", str(run_dir), *flags]


def curve(run_dir: Path) -> list[dict[str, float]]:
    with (run_dir / "metrics.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def weights(run_dir: Path) -> dict[str, numpy.ndarray]:
    with numpy.load(run_dir / "checkpoints" / "last.npz") as arrays:
        return {name: arrays[name] for name in arrays if name != "note"}


@pytest.fixture
def without_horovod(tmp_path: Path) -> dict[str, str | None]:
    for name in ("horovod", "mpi4py"):
        (tmp_path / "hidden" / name).mkdir(parents=True)
        (tmp_path / "hidden" / name / "__init__.py").write_text(HIDDEN)
    paths = [str(tmp_path / "hidden"), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def assert_same_curve(one: Path, other: Path) -> None:
    assert len(curve(one)) == len(curve(other)) == 3
    for a, b in zip(curve(one), curve(other), strict=True):
        for name in ("loss", "val_loss", "val_rmse", "learning_rate"):
            assert a[name] == pytest.approx(b[name], rel=CURVE), f"{name} of epoch {a['epoch']:g}"


def test_two_ranks_without_horovod_train_what_horovod_trains(
    tmp_path: Path, without_horovod: dict[str, str | None]
) -> None:
    ours, theirs = tmp_path / "tensorflow", tmp_path / "horovod"
    finished = run(launch(2, *train(ours, "--check-equal-weights")), timeout_s=240, env=without_horovod)
    run(mpirun(2, HVD_TRAIN, *train(theirs)), timeout_s=240)
    assert_same_curve(ours, theirs)
    report = json.loads((ours / "report.json").read_text())
    assert report["size"] == 2
    assert not finished.left_behind
    assert "TF_CONFIG" not in finished.output
    assert "UNAVAILABLE" not in finished.output


@pytest.mark.slow
def test_four_ranks_and_one_train_the_same(tmp_path: Path) -> None:
    """Four add gradients in memory, two send them around the ring."""
    for np, how, flags in ((1, "", []), (2, "around a ring", WITHOUT_MEMORY), (4, "in memory", [])):
        told = run(launch(np, *train(tmp_path / f"{np}", "--check-equal-weights", *flags)), timeout_s=280)
        assert how in told.stdout
        run(launch(np, *train(tmp_path / f"step-{np}", *ONE_STEP, *flags)), timeout_s=280)
    for np in (2, 4):
        assert_same_curve(tmp_path / f"{np}", tmp_path / "1")
        assert curve(tmp_path / f"step-{np}")[0]["loss"] == pytest.approx(
            curve(tmp_path / "step-1")[0]["loss"], rel=STEP_1
        )


@pytest.mark.slow
def test_batch_normalization_is_over_the_rows_of_all_ranks(
    tmp_path: Path, without_horovod: dict[str, str | None]
) -> None:
    """Of a network from outside, in memory and around the ring. Without the others' part of a gradient, weights were 0.13 apart."""
    network = ["--num-virtual-shards", "12", "--model", f"{OWN_NETS}:wide", "--base-learning-rate", "0.02"]
    for np, name, flags in ((1, "1", []), (2, "memory", []), (2, "ring", WITHOUT_MEMORY)):
        folder = tmp_path / name
        run(launch(np, *train(folder, *network, *flags)), timeout_s=200, env=without_horovod)
        for array, found in weights(folder).items():
            numpy.testing.assert_allclose(found, weights(tmp_path / "1")[array], atol=5e-3, err_msg=f"{array}, {name}")


@pytest.mark.slow
@pytest.mark.parametrize("first", ["tensorflow", "horovod"])
def test_a_run_goes_on_under_the_other_engine(tmp_path: Path, first: str) -> None:
    whole, parted, pace = tmp_path / "whole", tmp_path / "parted", Pace(tmp_path, 0.0)
    flags = ["--num-epochs", "3", "--steps-per-execution", "1", "--num-songs", "20000", *pace.flags]
    run(mpirun(2, HVD_TRAIN, *train(whole, *flags)), timeout_s=280)
    starters = {"tensorflow": launch(2), "horovod": mpirun(2, HVD_TRAIN)}
    second = "horovod" if first == "tensorflow" else "tensorflow"
    pace.set(4.0)
    with started([*starters[first], *train(parted, *flags)], timeout_s=200) as job:
        job.wait_for("epoch  1/3", timeout_s=120)
        os.kill(job.pid, signal.SIGUSR1)
        assert job.wait(60).code == 85, job.output
    pace.set(0.0)
    run([*starters[second], "train", "--resume", str(parted)], timeout_s=240)
    assert_same_curve(parted, whole)


@pytest.mark.slow
def test_the_other_verbs_work_without_horovod(tmp_path: Path, without_horovod: dict[str, str | None]) -> None:
    """Two ranks score and predict what one does."""
    run_dir, rows = tmp_path / "run", tmp_path / "rows.csv"
    one_epoch = ["--recipe", "debug", "--num-songs", "2000", "--num-epochs", "1", "--run-dir"]
    run(launch(2, "train", *one_epoch, run_dir), timeout_s=200, env=without_horovod)
    numpy.savetxt(rows, numpy.random.default_rng(0).standard_normal((101, 90)), delimiter=",", fmt="%.3f")
    scored, predicted = [], []
    for np in (1, 2):
        finished = run(launch(np, "evaluate", run_dir, "--json"), timeout_s=200, env=without_horovod)
        scored.append(json.loads(finished.stdout)["metrics"])
        out = tmp_path / f"{np}.csv"
        run(launch(np, "predict", run_dir, "--data", rows, "--out", out), timeout_s=200, env=without_horovod)
        predicted.append(out.read_text())
    assert scored[0].keys() == scored[1].keys()
    assert scored[1]["loss"] == pytest.approx(scored[0]["loss"], rel=1e-6)
    assert predicted[0] == predicted[1]
    run(launch(2, "ensemble", "--members", "2", *one_epoch, tmp_path / "ensemble"), timeout_s=240, env=without_horovod)
    assert (tmp_path / "ensemble" / "model.keras").exists()


def ranks_of(job: Job) -> dict[int, psutil.Process]:
    """The processes of the ranks below a launch, by rank."""
    found = {}
    for process in psutil.Process(job.pid).children(recursive=True):
        config = process.environ().get("TF_CONFIG")
        if config:
            found.setdefault(json.loads(config)["task"]["index"], process)
    return found


def end_of(job: Job, number: int, rank: int) -> Finished:
    job.wait_for("epoch  1/", timeout_s=150)
    ranks_of(job)[rank].send_signal(number)
    began = time.monotonic()
    finished = job.wait(SOON_S + WATCHDOG_S)
    assert finished.code != 0
    assert time.monotonic() - began < SOON_S + WATCHDOG_S
    assert not finished.left_behind, finished.left_behind
    return finished


LONG = ["--num-epochs", "400", "--early-stopping-patience", "0", "--watchdog-s", str(WATCHDOG_S)]


def test_a_rank_that_is_killed_ends_all_and_is_named(tmp_path: Path) -> None:
    with started(launch(2, *train(tmp_path / "run", *LONG)), timeout_s=220) as job:
        finished = end_of(job, signal.SIGKILL, 1)
    assert f"rank 1 on host {HOST}" in finished.stderr, str(finished)
    assert "UNAVAILABLE" not in finished.output, str(finished)
    assert "Traceback" not in finished.output, str(finished)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "rank"), [(signal.SIGKILL, 0), (signal.SIGSTOP, 1)])
def test_whatever_becomes_of_a_rank_it_is_named(tmp_path: Path, number: int, rank: int) -> None:
    with started(launch(2, *train(tmp_path / "run", *LONG)), timeout_s=220) as job:
        finished = end_of(job, number, rank)
    assert f"rank {rank} on host {HOST}" in finished.stderr, str(finished)


@pytest.mark.slow
def test_ctrl_c_ends_all(tmp_path: Path) -> None:
    with started(launch(2, *train(tmp_path / "run", *LONG)), timeout_s=220) as job:
        job.wait_for("epoch  1/", timeout_s=150)
        job.signal(signal.SIGINT)
        finished = job.wait(SOON_S)
    assert finished.code == 130, str(finished)
    assert not finished.left_behind, finished.left_behind
    assert "Traceback" not in finished.output, str(finished)


def alone(config: object, *flags: str, timeout_s: float = 120) -> Finished:
    """One process with this TF_CONFIG."""
    text = config if isinstance(config, str) else json.dumps(config)
    command = [str(HVD_TRAIN), "train", "--recipe", "debug", *flags]
    return run(command, timeout_s=timeout_s, ok=False, env={"TF_CONFIG": text})


def two_workers(first: int, second: int, index: int = 0) -> dict[str, object]:
    addresses = [f"127.0.0.1:{first}", f"127.0.0.1:{second}"]
    return {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}


def test_a_wrong_tf_config_is_one_message() -> None:
    finished = alone(two_workers(2222, 2223, index=2))
    assert finished.code == 3
    assert finished.stderr.startswith("error: TF_CONFIG cannot be used: its task is worker 2")
    assert len(finished.stderr.strip().splitlines()) == 1


def test_a_port_that_is_taken_and_a_worker_that_does_not_come_are_named() -> None:
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("", 0))
        taken.listen()
        free.bind(("", 0))
        ports = taken.getsockname()[1], free.getsockname()[1]
        finished = alone(two_workers(*ports))
        assert finished.code == 3, str(finished)
        assert f"rank 0 has to listen on port {ports[0]}" in finished.stderr
        free.close()
        finished = alone(two_workers(ports[1], free_port()), "--watchdog-s", "1")
        assert finished.code == 3, str(finished)
        assert "waited 5 s for all 2 ranks to start: rank 1 does not listen on 127.0.0.1:" in finished.stderr
        assert "Traceback" not in finished.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
