"""The settings that are made by themselves: what they are is told, what the user has set wins, and no bit changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from processes import horovodrun, run

TINY = ("--recipe", "debug", "--num-epochs", "1", "--num-songs", "1000")
# What the launcher itself puts there, and tests/launch for Open MPI.
OF_LAUNCHER = {"OPAL_PREFIX", "OMPI_MCA_mpi_yield_when_idle"}


def settings_of(run_dir: Path) -> dict:
    return json.loads((run_dir / "report.json").read_text())["settings"]


def weights(run_dir: Path) -> list[bytes]:
    with np.load(run_dir / "checkpoints" / "last.npz") as archive:
        return [archive[key].tobytes() for key in sorted(archive.files) if key != "note"]


@pytest.mark.slow
def test_settings_change_no_bit_and_the_user_s_own_win(tmp_path: Path) -> None:
    """Two ranks with all settings, and with none but the threads, which part TensorFlow's sums."""
    run(horovodrun(2, "hvd-train", "train", *TINY, "--run-dir", tmp_path / "all"), timeout_s=120)
    other = ("--automatic", "threads", "--fusion-threshold-mb", "0", "--allreduce", "ring", "--gradient-groups", "2")
    env = {"HOROVOD_CYCLE_TIME": "2", "TF_NUM_INTRAOP_THREADS": "1", "OMPI_MCA_mpi_yield_when_idle": "0"}
    flags = (*TINY, "--cycle-time-ms", "0.5", *other)
    done = run(horovodrun(2, "hvd-train", "train", *flags, "--run-dir", tmp_path / "few"), timeout_s=120, env=env)
    assert weights(tmp_path / "all") == weights(tmp_path / "few")
    assert settings_of(tmp_path / "all")["set"]["HOROVOD_CYCLE_TIME"] == "0.2"
    few = settings_of(tmp_path / "few")
    assert {key: few["kept_from_user"][key] for key in ("HOROVOD_CYCLE_TIME", "TF_NUM_INTRAOP_THREADS")} == {
        "HOROVOD_CYCLE_TIME": "2",
        "TF_NUM_INTRAOP_THREADS": "1",
    }
    assert few["set"]["OMPI_MCA_coll_tuned_allreduce_algorithm"] == "4"
    assert few["cores_of_root"] is None
    assert set(few["switched_off"]) == {
        "affinity",
        "shared-memory",
        "shared-update",
        "two-levels",
        "mpi-yield",
        "mpi-eager",
        "cycle-time",
        "wake",
        "fusion",
        "primitives",
        "launch",
        "quiet",
    }
    assert "kept as given: HOROVOD_CYCLE_TIME=2" in done.stdout.replace("TF_NUM_INTRAOP_THREADS=1, ", "")


def test_with_everything_off_nothing_is_set(tmp_path: Path) -> None:
    run(["hvd-train", "train", *TINY, "--run-dir", str(tmp_path / "run"), "--automatic"], timeout_s=120)
    found = settings_of(tmp_path / "run")
    assert (found["set"], found["cores_of_root"], found["threads_per_rank"]) == ({}, None, None)
    assert set(found["kept_from_user"]) <= OF_LAUNCHER
