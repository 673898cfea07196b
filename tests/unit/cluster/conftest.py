"""What the tests of hvd-train jobs share."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_schedulers import FakeCluster
from submitted import cluster_of


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    return cluster_of("slurm", tmp_path, monkeypatch)
