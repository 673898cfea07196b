"""One cluster for all tests of this folder."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import spark_cluster
from bad_inputs import table, write


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[spark_cluster.Cluster]:
    if reason := spark_cluster.why_not():
        pytest.skip(reason)
    # As Ctrl-C: what was set up is torn down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with spark_cluster.cluster(tmp_path_factory.mktemp("spark")) as found:
        yield found


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of 2000 rows: a year and six features."""
    return write(tmp_path_factory.mktemp("rows") / "rows.csv", table(2000, 6))
