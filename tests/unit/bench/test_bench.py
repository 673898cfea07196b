"""Figures from made-up times, and jobs that crash, hang or are refused; no TensorFlow, no MPI."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from hvd_train.bench import figures, session
from hvd_train.bench.rank_program import Solo, Spec
from hvd_train.bench.session import for_size, with_batch
from hvd_train.config import RunConfig
from hvd_train.processes import WARNING_SIGNALS, Stopped, jobs, stop_handler
from hvd_train.processes.jobs import TrialFailed


def rank(number: int, *, factor: float = 1.0) -> dict[str, Any]:
    """Steps of 10 ms, of which 1 is input and 3 are the allreduce; two executions of 5 steps a round."""

    def turns(step_s: float) -> list[dict[str, Any]]:
        step_s *= factor
        return [{"seconds": 10 * step_s, "cpu_seconds": 8 * step_s, "executions": [5 * step_s] * 2}] * 3

    return {
        "rank": number,
        "num_cores": 1,
        "threads": 1,
        "local_batch_size": 100,
        "steps_per_execution": 5,
        "precision": "float32",
        "kinds": {"train": turns(0.010), "one batch": turns(0.009), "no allreduce": turns(0.006)},
        "start": {"python": 0.1, "tensorflow": 3.1, "horovod": 3.2, "data": 3.3, "model": 4.0, "first step": 5.0 * factor},
    }  # fmt: skip


def test_a_job_s_figures() -> None:
    found = figures.throughput([rank(0), rank(1)])
    assert found["samples_per_s"] == pytest.approx(20_000)
    assert found["samples_per_s_by_rank"] == pytest.approx([10_000] * 2)
    assert (found["step_ms_median"], found["step_ms_p95"]) == pytest.approx((10, 10))
    assert found["shares"] == pytest.approx({"compute": 0.6, "allreduce": 0.3, "input": 0.1})
    assert found["idle"] == pytest.approx(0.2)


def test_what_ranks_save_by_sharing_the_update_out_is_no_gain_of_the_allreduce_s() -> None:
    sharing = [rank(number) for number in range(2)]
    for one in sharing:
        one["kinds"]["update"] = [{"seconds": 0.02, "cpu_seconds": 0.02, "executions": [0.01] * 2}] * 3  # 2 ms a step
    assert figures.throughput(sharing)["shares"] == pytest.approx({"compute": 0.5, "allreduce": 0.4, "input": 0.1})


def test_ranks_go_at_the_slowest_one_s_pace_and_independent_processes_do_not() -> None:
    both = [rank(0), rank(1, factor=2.0)]
    assert figures.samples_per_s(both) == pytest.approx(10_000)
    assert figures.samples_per_s_apart(both) == pytest.approx(15_000)
    assert figures.start_up(both)["first step"] == pytest.approx(6.0)
    assert figures.start_up(both)["all"] == pytest.approx(10.0)


def test_one_rank_waits_for_nobody() -> None:
    assert figures.throughput([rank(0)])["shares"]["allreduce"] == 0


def test_percentile_and_spread() -> None:
    assert figures.percentile(list(map(float, range(1, 101))), 0.95) == 95
    assert figures.percentile([7.0], 0.95) == 7
    assert figures.spread([3, 1, 2]) == {"median": 2, "min": 1, "max": 3, "repeats": 3}
    assert figures.bus_bandwidth(100, 1.0, 4) == pytest.approx(150)


def test_weak_and_strong() -> None:
    config = with_batch(RunConfig())
    assert config.training.local_batch_size == 256
    assert for_size(config, 4).training.local_batch_size == 256
    strong = for_size(config, 4, strong=512).training
    assert (strong.global_batch_size, strong.local_batch_size) == (512, None)
    assert with_batch(RunConfig().replace(training={"global_batch_size": 64})).training.local_batch_size is None


def test_a_spec_travels_whole() -> None:
    spec = Spec(config="[data]\n", out="/x", solo=Solo(1, 2, (0, 3)), gate="/g", started=1.5)
    assert Spec.loads(spec.dumps()) == spec
    assert Spec.loads(Spec(config="", out="").dumps()).solo is None


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys; print('error: no room'); sys.exit(3)", "exit code 3: error: no room"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV: it said nothing"),
        ("print('begun', flush=True); import time; time.sleep(60)", "not ended within 1 s, which is its limit .begun."),
    ],
)
def test_a_job_that_crashes_or_hangs_is_told_in_a_line(code: str, says: str) -> None:
    began = time.monotonic()
    with pytest.raises(TrialFailed, match=says):
        jobs.run([python(code), python("import time; time.sleep(60)")], limit_s=1.0)
    assert time.monotonic() - began < 30


def test_what_a_job_has_started_ends_with_it() -> None:
    # As mpirun's ranks do, the grandchild has a process group of its own.
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '61.25'], start_new_session=True); p.wait()"
    with pytest.raises(TrialFailed):
        jobs.run([python(code)], limit_s=1.0)
    # A zombie has ended: whoever inherits it has only not asked for its exit code yet.
    living = [
        p for p in psutil.process_iter(["cmdline", "status"])
        if "61.25" in (p.info["cmdline"] or []) and p.info["status"] != psutil.STATUS_ZOMBIE
    ]  # fmt: skip
    assert not living


def test_a_signal_in_the_middle_of_a_start_leaves_no_process_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any) -> subprocess.Popen[bytes]:
        started.append(whole_start(*arguments))
        signal.raise_signal(signal.SIGUSR1)
        return started[-1]

    whole_start = jobs._start
    monkeypatch.setattr(jobs, "_start", start)
    with (
        pytest.raises(Stopped, match="SIGUSR1"),
        stop_handler(lambda: "stopped", grace_s=30.0, signals=WARNING_SIGNALS),
    ):
        jobs.run([python("import time; time.sleep(60)")], limit_s=20.0)
    assert started[0].returncode == -signal.SIGTERM


def test_jobs_side_by_side_end_together() -> None:
    ended = jobs.run([python("print('a')"), python("print('b')")], limit_s=30)
    assert [one.output.strip() for one in ended] == ["a", "b"]


def test_what_was_measured_is_kept_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "about", lambda _: {})
    monkeypatch.setattr(session.Session, "throughput", lambda _, size: size)

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session.Session, "scaling", interrupted)
    plan = session.BenchSettings(config=RunConfig(), sizes=(1, 2), seconds=1, num_repeats=1)
    kept: list[dict[str, Any]] = []
    with pytest.raises(KeyboardInterrupt):
        session.bench(plan, ("throughput", "scaling"), lambda _: None, keep=lambda known: kept.append(dict(known)))
    assert kept == [{"about": {}, "throughput": [1, 2]}]
