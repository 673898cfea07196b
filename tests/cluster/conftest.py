"""A laboratory (lab.py) for each file of tests, with the schedulers that the file names in SITES."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab, why_not


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    sites = request.module.SITES
    if reason := why_not(*sites):
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="hvd-lab-") as folder:
        Path(folder).chmod(0o755)
        lab = Lab.up(Path(folder) / "lab", sites)
        try:
            yield lab
        finally:
            lab.down()
