"""The image's scripts in an MPIJob on Kubernetes: the worker's sshd, the launcher's ssh, and the end of a pod.

Everything but Kubernetes is real: users, keys, names, sshd, ssh, mpirun. pods.py makes the pods from namespaces.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pace import Pace
from pods import DOMAIN, WORKERS, Pods, pods, why_not
from processes import Job

from hvd_train.cluster.submit.script import OPEN_MPI
from hvd_train.schedulers import manifests
from hvd_train.schedulers.job import Resources

RANK = Path(__file__).parent / "mpijob_rank.py"
SLOW_S = 90.0


@pytest.fixture(scope="module")
def job() -> Iterator[Pods]:
    if reason := why_not():
        pytest.skip(reason)
    with pods() as made:
        yield made


@pytest.fixture
def workers(job: Pods) -> Iterator[list[Job]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(job.worker(number, 2 * SLOW_S)) for number in range(len(WORKERS))]


def terminate(worker: Job) -> None:
    """As tini does with SIGTERM for a pod: it goes to the process group of the pod's command."""
    for process in worker.processes():
        if process.name() in ("bash", "sshd"):
            os.kill(process.pid, signal.SIGTERM)


def test_mpirun_starts_ranks_in_both_workers_with_what_the_operator_gives(job: Pods, workers: list[Job]) -> None:
    with job.launch("mpirun", "--bind-to", "none", "-x", "PATH", "python", RANK, timeout_s=SLOW_S) as launched:
        finished = launched.wait(SLOW_S)
    assert finished.code == 0, finished
    expected = [f"rank {rank} of 4 on {WORKERS[rank // 2]} as 1000" for rank in range(4)]
    assert sorted(line for line in finished.stdout.splitlines() if line.startswith("rank")) == expected


def test_the_end_of_a_worker_warns_its_ranks_and_waits_for_them(job: Pods, workers: list[Job]) -> None:
    with job.launch(
        "mpirun", "--bind-to", "none", "-x", "PATH", "python", RANK, "--wait", timeout_s=SLOW_S
    ) as launched:
        for rank in range(4):
            launched.wait_for(f"rank {rank} of 4", SLOW_S)
        terminate(workers[1])
        finished = launched.wait(SLOW_S)
    assert finished.code == 85, finished
    saved = sorted(line for line in finished.stdout.splitlines() if "saved" in line)
    # Each rank of that pod was warned once, the others were not, and all of them agreed.
    assert saved == [f"rank {rank} saved after {rank // 2} warnings" for rank in range(4)]
    assert workers[1].wait(10).code == 143
    assert workers[0].process.poll() is None


def test_a_worker_without_ranks_ends_at_once(workers: list[Job]) -> None:
    terminate(workers[0])
    assert workers[0].wait(10).code == 143


def test_the_launcher_knows_the_workers_by_the_key_of_the_job_alone(job: Pods, workers: list[Job]) -> None:
    with job.launch("ssh", f"{WORKERS[0]}.{DOMAIN}", "hostname; id -un", timeout_s=20) as launched:
        assert launched.wait(20).stdout.split() == [WORKERS[0], "hvd"]
    # Keys of another job: the worker would take neither the launcher for its own, nor the launcher the worker.
    other = 'mkdir other; ssh-keygen -q -t ecdsa -N "" -f other/id_rsa; export HVD_KEYS=$PWD/other; exec ssh "$0" true'
    with job.launch("bash", "-c", other, f"{WORKERS[0]}.{DOMAIN}", timeout_s=20) as launched:
        finished = launched.wait(20)
    assert finished.code == 255
    assert "Host key verification failed" in finished.stderr


def test_a_training_goes_on_after_the_eviction_of_a_worker(job: Pods) -> None:
    """As Kubernetes does it: the launcher ends with 85 and is started again, and a new worker has the name of the old."""
    resources = Resources(name="songs", num_hosts=2, ranks_per_host=2, time_limit_s=3600)
    run = job.runs / "songs"
    pace = Pace(job.runs, 3.0)
    length = ["--num-epochs", "12", "--early-stopping-patience", "0"]
    train = ["train", "--recipe", "debug", *length, *pace.flags, "--run-dir", str(run)]
    command = ["hvd-train", "supervise", "--np", "4", "--", *train]
    document = manifests.manifest(resources, manifests.Pods(image="image", pvc="runs"), command, OPEN_MPI)
    launcher = document["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]
    variables = {each["name"]: each["value"] for each in launcher["env"]}
    with job.worker(0, 10 * SLOW_S):
        with (
            job.worker(1, 5 * SLOW_S) as worker,
            job.launch(*launcher["args"], timeout_s=5 * SLOW_S, env=variables) as first,
        ):
            first.wait_for("epoch  1/", 3 * SLOW_S)
            terminate(worker)
            saved = first.wait(SLOW_S)
            assert saved.code == 85, saved
            assert worker.wait(10).code == 143
        pace.set(0.0)
        with job.worker(1, 5 * SLOW_S), job.launch(*launcher["args"], timeout_s=5 * SLOW_S, env=variables) as again:
            finished = again.wait(4 * SLOW_S)
    assert finished.code == 0, finished
    assert (run / "DONE").exists()
