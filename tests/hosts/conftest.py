"""Two hosts for the tests of a file. Skipped, with the reason, where they cannot be made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from namespaces import Lab, hosts_in, why_not


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if reason := why_not():
        pytest.skip(reason)
    with hosts_in(tmp_path_factory.mktemp("lab")) as lab:
        yield lab
