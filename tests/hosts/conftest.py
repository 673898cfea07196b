"""Tests between hosts of their own, too long for `make test`: `python -m pytest tests/hosts` as root."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
