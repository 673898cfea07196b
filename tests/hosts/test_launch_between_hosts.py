"""`hvd-train launch` over ssh: ranks on two hosts without MPI, and a rank that dies on the other one."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil
import pytest
from namespaces import NAMES, Lab
from processes import BIN

FLAGS = ["train", "--recipe", "debug", "--num-songs", "2000"]
SOON_S = 30.0


def launch(run_dir: Path, *flags: str) -> list[str]:
    hosts = ",".join(f"{name}:1" for name in NAMES[:2])
    return [str(BIN / "hvd-train"), "launch", "-H", hosts, "--", *FLAGS, "--run-dir", str(run_dir), *flags]


@pytest.mark.timeout(300)
def test_ranks_on_two_hosts_train_together(lab: Lab, tmp_path: Path) -> None:
    with lab.running(0, *launch(tmp_path / "run"), timeout_s=240) as job:
        finished = job.wait(240)
    assert finished.code == 0, str(finished)
    assert f"2 on {NAMES[0]} (1), {NAMES[1]} (1), joined by TensorFlow" in finished.output
    assert "gradients go around a ring" in finished.output
    assert not ranks_on(lab, 1)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_rank_that_dies_on_the_other_host_ends_all(lab: Lab, tmp_path: Path) -> None:
    long = ("--num-epochs", "400", "--early-stopping-patience", "0", "--watchdog-s", "6")
    with lab.running(0, *launch(tmp_path / "run", *long), timeout_s=240) as job:
        job.wait_for("epoch  1/", timeout_s=150)
        for process in ranks_on(lab, 1):
            process.send_signal(signal.SIGKILL)
        began = time.monotonic()
        finished = job.wait(SOON_S)
    assert time.monotonic() - began < SOON_S
    assert finished.code != 0
    assert f"rank 1 on host {NAMES[1]}" in finished.stderr, str(finished)
    assert not ranks_on(lab, 1)


def ranks_on(lab: Lab, host: int) -> list[psutil.Process]:
    return [process for process in lab.processes(host) if "TF_CONFIG" in process.environ()]
