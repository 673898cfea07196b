"""Where real rows lie: beside the checkout, or where HVD_TRAIN_REAL_ROWS says. They are never part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
REAL_ROWS = Path(os.environ.get("HVD_TRAIN_REAL_ROWS", BESIDE))
needs_real_rows = pytest.mark.skipif(
    not REAL_ROWS.is_dir(),
    reason="no real rows: neither ../shared/data nor $HVD_TRAIN_REAL_ROWS has msd_head.csv, msd_subset_54.csv, leaf.csv",
)
