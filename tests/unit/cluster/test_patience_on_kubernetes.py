"""How long the supervisor lets the ranks save after SIGTERM: as long as the pods have, and seven seconds elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvd_train.cli.supervise_verb import SuperviseArguments, options_of
from hvd_train.cluster import supervise as supervising


@pytest.mark.parametrize(
    ("environment", "warn", "seconds"),
    [
        ({"HVD_KUBERNETES_JOB": "mpijob_songs"}, 120, 110),
        ({"HVD_KUBERNETES_JOB": "mpijob_songs"}, 5, 7),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_TASKS_PER_NODE": "2(x2)"}, 120, 7),
        ({}, 120, 7),
    ],
)
def test_time_for_a_checkpoint(environment: dict[str, str], warn: int, seconds: float, tmp_path: Path) -> None:
    (tmp_path / "hostfile").write_text("songs-worker-0 slots=2\n")
    if "HVD_KUBERNETES_JOB" in environment:
        environment = {**environment, "OMPI_MCA_orte_default_hostfile": str(tmp_path / "hostfile")}
    allocation = supervising.find_allocation(environment, hosts=None, hostfile=None)
    options = options_of(SuperviseArguments(warn=warn), allocation, repeatable=True)
    assert options.patience.stop_s == seconds
