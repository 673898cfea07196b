"""The programs that edit and check the patches are scripts: what they import lies beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "scripts"))


@pytest.fixture(scope="session")
def real_sdist() -> Path:
    """Horovod's source archive, from the user's cache or downloaded."""
    from hvd_train.horovod_build import BuildError, source, wheel_cache

    try:
        return source.fetch_sdist(wheel_cache.sdist_dir())
    except BuildError as error:
        pytest.skip(f"Horovod's source cannot be had here: {str(error).strip().splitlines()[-1]}")


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the C++ files that the series adds to Horovod."""
    from hvd_train.horovod_build import series

    folder = tmp_path_factory.mktemp("sources")
    for path, content in series.added_files(series.read_series()).items():
        (folder / Path(path).name).write_bytes(content)
    return folder
