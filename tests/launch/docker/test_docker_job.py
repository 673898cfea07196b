"""docker/job.py, which starts and ends a job on a cluster of containers."""

from __future__ import annotations

import importlib.util
import io
import signal
import sys
from types import ModuleType

import pytest
from processes import BIN, REPOSITORY


@pytest.fixture(scope="module")
def job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docker_job", REPOSITORY / "docker" / "job.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_hosts_and_slots_are_read(job: ModuleType) -> None:
    assert job.parse_hosts("node1:2,node2:1") == {"node1": 2, "node2": 1}


@pytest.mark.parametrize("text", ["node1", "node1:0", "node1:x", ":2", "node1:1,node1:1", ""])
def test_wrong_hosts_are_refused(job: ModuleType, text: str) -> None:
    with pytest.raises(job.CannotStart):
        job.parse_hosts(text)


def test_more_ranks_than_slots_and_an_unknown_host_are_refused_before_anything_starts(job: ModuleType) -> None:
    with pytest.raises(job.CannotStart, match="3 ranks do not fit into 2 slots"):
        job.check(3, {"localhost": 2})
    with pytest.raises(job.CannotStart, match="host no-such-host.invalid has no address"):
        job.check(1, {"no-such-host.invalid": 1})


def test_output_is_handed_on_in_whole_lines_without_chatter_and_tags(job: ModuleType) -> None:
    out = io.StringIO()
    relay = job.Relay(out)
    relay.pass_on(b"[1,0]<stdout>:epoch 1\nI0000 port.cc:1] oneDNN is on\n[1,3]<stderr>:err")
    assert out.getvalue() == "epoch 1\n"
    relay.pass_on(b"or\nlast")
    assert out.getvalue() == "epoch 1\n[rank 3] error\n"
    relay.pass_on(b"")
    assert out.getvalue().endswith("\nlast\n")


def test_all_output_comes_and_the_exit_code_is_the_commands(job: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    started = job.Job(["bash", "-c", "for i in $(seq 5000); do echo line $i; done; echo oh >&2; exit 7"])
    assert job.supervise(started) == 7
    started.close()
    out, err = capfd.readouterr()
    assert out.splitlines() == [f"line {i}" for i in range(1, 5001)]
    assert err == "oh\n"


def test_a_job_that_is_told_to_stop_and_does_not_is_ended(job: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "STOP_S", 0.5)
    ignoring = (
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('x', flush=True); time.sleep(60)"
    )
    started = job.Job([sys.executable, "-c", ignoring])
    try:
        started.stop(2)
        assert job.supervise(started) == 4 or started.process.returncode  # before or after it ignores the signal
    finally:
        started.kill()
        started.close()
    assert started.process.poll() is not None


def test_ctrl_c_reaches_mpirun_itself(job: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    """horovodrun, which stands between, gives it a session of its own and kills it before the ranks can save."""
    saves = "trap 'echo saved; exit 0' TERM; echo here; while :; do sleep 0.1; done"
    started = job.Job(["bash", "-c", f'setsid --wait {BIN}/mpirun -np 1 --bind-to none bash -c "$0"; exit $?', saves])
    try:
        assert started.process.stdout is not None
        assert started.process.stdout.readline() == b"here\n"
        started.stop(signal.SIGINT)
        assert job.supervise(started) != 0
    finally:
        started.kill()
        started.close()
    assert "saved" in capfd.readouterr().out


def test_ranks_that_ended_under_an_mpirun_that_waits_are_the_end_of_the_job(
    job: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "LOST_S", 0.5)
    script = "OMPI_COMM_WORLD_RANK=0 sleep 2; exec sleep 60"
    started = job.Job(["bash", "-c", script])
    try:
        assert job.supervise(started) == 4
    finally:
        started.kill()
        started.close()
    assert "a host of the job does not answer any more" in capfd.readouterr().err
