"""`hvd-train bench` and `hvd-train tune` as a user starts them, at the smallest size that means something."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

import pytest
from processes import mpirun, run, started

TINY = ("--recipe", "debug", "--num-songs", "2000", "--num-virtual-shards", "16")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_bench_at_tiny_size(tmp_path: Path) -> None:
    flags = ("--np", "2", "--measure", "throughput", "allreduce", "--seconds", "0.2", "--repeats", "1")
    done = run(["hvd-train", "bench", *TINY, *flags, "--out", str(tmp_path)], timeout_s=300)
    result = json.loads((tmp_path / "bench.json").read_text())
    (one,) = result["throughput"]
    assert one["size"] == len(one["samples_per_s_by_rank"]) == 2
    assert one["samples_per_s"] > 0
    assert 0 < one["step_ms_median"] <= one["step_ms_p95"]
    assert sum(one["shares"].values()) == pytest.approx(1)
    assert one["start"]["all"] > one["start"]["tensorflow"] > 0
    assert result["allreduce"][0]["memory_bytes_per_s"] > 0
    assert (tmp_path / "allreduce.png").stat().st_size > 0
    assert "Throughput" in done.stdout
    assert result["about"]["versions"]["horovod"]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_tune_at_tiny_size_goes_on_after_a_refusal_and_train_takes_its_file(tmp_path: Path) -> None:
    """Two ranks cannot share 3 shards: that trial is refused, and the search comes to its end."""
    recipe = ("--recipe", "debug", "--num-songs", "2000", "--num-virtual-shards", "3", "--global-batch-size", "96")
    search = ("--np", "2", "3", "--search", "np", "--seconds", "0.3", "--rungs", "1")
    done = run(["hvd-train", "tune", *recipe, *search, "--out", str(tmp_path)], timeout_s=300)
    assert "2 ranks: exit code 2: error: ConfigError: 2 ranks cannot share 3 virtual shards" in done.stdout
    assert "Settings by time to the same validation loss" in done.stdout
    for name in ("tuned.toml", "tune.json", "tune.png"):
        assert (tmp_path / name).stat().st_size > 0
    flags = ("--config", tmp_path / "tuned.toml", "--num-epochs", "1", "--run-dir", tmp_path / "run")
    run(mpirun(3, "hvd-train", "train", *flags), timeout_s=120)


@pytest.mark.slow
def test_ctrl_c_ends_a_bench_with_all_it_started(tmp_path: Path) -> None:
    flags = (*TINY, "--np", "2", "--measure", "efficiency", "--seconds", "30", "--out", str(tmp_path))
    with started(["hvd-train", "bench", *flags], timeout_s=120) as job:
        job.wait_for("2 ranks against 2 independent processes", timeout_s=60)
        deadline = time.monotonic() + 60
        while (
            sum("hvd_train.bench.rank_program" in " ".join(p.cmdline()) for p in job.processes()) < 3
        ):  # mpirun and two ranks
            assert time.monotonic() < deadline, "no rank was started"
            time.sleep(0.1)
        job.signal(signal.SIGINT)
        finished = job.wait(30)
    assert finished.code == 130, str(finished)
    assert not finished.left_behind
    assert "Traceback" not in finished.output


def test_links_are_measured_pair_by_pair(tmp_path: Path) -> None:
    """The program that `bench --hosts` starts with a rank on each host; here all ranks are on one."""
    spec = {"sizes": [8, 4096, 1048576], "seconds": 0.01, "out": str(tmp_path / "links")}
    run(mpirun(3, sys.executable, "-m", "hvd_train.bench.hosts.ping_pong", json.dumps(spec)), timeout_s=60)
    found = json.loads((tmp_path / "links").read_text())
    assert len(found["hosts"]) == 3
    assert len(found["pairs"]) == 3
    for pair in found["pairs"]:
        assert len(pair["seconds"]) == 3  # which is the longest, a loaded machine decides
        assert all(0 < seconds < 10 for seconds in pair["seconds"])


def test_hosts_need_a_hostfile_and_single_steps(tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "out"))
    done = run(["hvd-train", "bench", "--hosts", *out], timeout_s=60, ok=False)
    assert done.code == 2
    assert "name it by --hostfile" in done.output
    done = run(["hvd-train", "bench", "--local-steps", "4", *out], timeout_s=60, ok=False)
    assert done.code == 2
    assert "which times single steps" in done.output
    assert not (tmp_path / "out").exists()


def test_they_start_their_own_ranks(tmp_path: Path) -> None:
    done = run(mpirun(2, "hvd-train", "bench", "--out", tmp_path), timeout_s=60, ok=False)
    assert done.code == 2
    assert done.output.count("starts its own ranks") == 1


def test_auto_precision_is_not_measured(tmp_path: Path) -> None:
    done = run(["hvd-train", "bench", "--precision", "auto", "--out", str(tmp_path / "out")], timeout_s=60, ok=False)
    assert done.code == 2
    assert "give float32 or bfloat16" in done.output
    assert not (tmp_path / "out").exists()
