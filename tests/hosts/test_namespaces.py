"""Training on two hosts (tests/namespaces.py): a root that moves, and a link that is cut. Skipped, with the reason, where there are none."""

from __future__ import annotations

import csv
import json
import re
import shutil
import time
from pathlib import Path

import pytest
from namespaces import Lab
from processes import BIN, Finished

ENDS_WITHIN_S = 30.0
# Four ranks that start on two cores which others use too.
SLOW_S = 180.0


def unlike(lab: Lab) -> Path:
    """`hvd-train` as it computes on hosts of unlike CPUs: on hostb by other kernels of OpenBLAS, NumPy and oneDNN."""
    from numpy._core import _multiarray_umath as umath

    levels = " ".join(name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name])
    other = {
        "OPENBLAS_CORETYPE": "Prescott",
        "OPENBLAS_NUM_THREADS": "1",
        "NPY_DISABLE_CPU_FEATURES": levels,
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    }
    exports = "\n".join(f"    export {name}='{value}'" for name, value in other.items() if value)
    program = lab.root / "bin" / "unlike"
    program.write_text(f'#!/bin/sh\nif [ "$(hostname)" = hostb ]; then\n{exports}\nfi\nexec {BIN}/hvd-train "$@"\n')
    program.chmod(0o755)
    return program


FLAGS = [
    "train",
    "--recipe",
    "debug",
    "--num-songs",
    "20000",
    "--steps-per-execution",
    "1",
    "--early-stopping-patience",
    "0",
    "--transform",
    "quantile",
    "--whiten",
]


@pytest.mark.timeout(480)
def test_two_hosts_train_then_the_root_moves_and_then_the_link_is_cut(lab: Lab) -> None:
    run_dir = lab.local / "run"
    # Named, because looking for the common interface takes horovodrun minutes where docker0 answers on both.
    hosts = ["-np", "4", "-H", "hosta:2,hostb:2", "--network-interfaces", "lan0"]
    # A job of unlike CPUs: the same data, weights and first layers on both.
    program = unlike(lab)
    command = [BIN / "horovodrun", *hosts, program, *FLAGS, "--num-epochs", "1", "--run-dir", run_dir]
    with lab.running(0, *command, timeout_s=SLOW_S) as job:
        assert_well(job.wait(SLOW_S))
    assert len(metrics(lab.files(0) / "run")) == 1
    assert not (lab.files(1) / "run").exists(), "the root alone writes the run"
    # No shared file system: each host made the data for itself.
    made = [list((lab.files(host) / "cache").rglob("metadata.json")) for host in (0, 1)]
    assert all(made), made
    first, second = (json.loads(found[0].read_text()) for found in made)
    assert first["checksum"] == second["checksum"]
    assert first["optimum"] != second["optimum"], "the hosts compute alike: the test says nothing"

    # The root moves to the other host, to which somebody has taken the run.
    shutil.move(lab.files(0) / "run", lab.files(1) / "run")
    hostfile = lab.root / "hostfile"
    hostfile.write_text("hostb slots=1\nhosta slots=1\n")
    command = [BIN / "mpirun", "-np", "2", "--hostfile", hostfile, "--bind-to", "none"]
    command += [program, "train", "--resume", run_dir, "--num-epochs", "500"]
    with lab.running(1, *command, timeout_s=SLOW_S + 60) as job:
        job.wait_for("epoch  2/500", timeout_s=SLOW_S)
        # mpirun's keepalive (scripts/mpi.env) notices; the program's own watchdog takes longer by default.
        lab.cut(0)
        began = time.monotonic()
        finished = job.wait(ENDS_WITHIN_S + 5)
        seconds = time.monotonic() - began
    assert finished.code != 0
    assert seconds < ENDS_WITHIN_S, f"{seconds:.0f} s"
    assert re.search(r"lost communication with a remote daemon[^=]*on node hosta", finished.output), str(finished)
    assert f"The last checkpoint is complete: {run_dir}" in finished.output, str(finished)
    assert (lab.files(1) / "run" / "checkpoints" / "last.npz").is_file()


def metrics(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def assert_well(finished: Finished) -> None:
    assert finished.code == 0, str(finished)
