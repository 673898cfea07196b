"""A laboratory (lab.py) for each file of tests, with the schedulers that the file names in SITES."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab, why_not

PREFIX = "hvd-lab-"


def sweep() -> None:
    """Remove the files and control groups of a laboratory whose tests were killed; its processes have died with them."""
    for state in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/lab/state.json"):
        if not Lab.found(state.parent).lives:
            Lab.found(state.parent).down()
            shutil.rmtree(state.parents[1])


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    sites = request.module.SITES
    if reason := why_not(*sites):
        pytest.skip(reason)
    sweep()
    # As Ctrl-C: what was set up is torn down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        Path(folder).chmod(0o755)
        lab = Lab.up(Path(folder) / "lab", sites)
        try:
            yield lab
        finally:
            lab.down()
