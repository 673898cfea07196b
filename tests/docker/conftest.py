"""Tests of the image and of clusters of containers: `make docker-test`. They need an engine, and skip, saying so, without.

IMAGE (hvd-train) is used as it is if HVD_TRAIN_TEST_IMAGE names one; otherwise it is built first. COMPOSE and BUILD_ARGS
are read by scripts/docker-cluster.sh.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import REPOSITORY, run, started

CLUSTER = REPOSITORY / "scripts" / "docker-cluster.sh"
BUILD_LIMIT_S = 3600.0


def docker(*arguments: str, ok: bool = True) -> str:
    """What `docker ARGUMENTS` prints."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert not ok or done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def engine_answers() -> bool:
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not engine_answers():
        for item in items:
            item.add_marker(pytest.mark.skip(reason="no Docker engine answers here"))


@pytest.fixture(scope="session")
def image() -> str:
    """The name of the image, built if it is not."""
    given = os.environ.get("HVD_TRAIN_TEST_IMAGE")
    if given:
        return given
    run([CLUSTER, "image"], timeout_s=BUILD_LIMIT_S)
    return os.environ.get("IMAGE", "hvd-train")


@pytest.fixture
def env(image: str, tmp_path: Path) -> dict[str, str | None]:
    """What scripts/docker-cluster.sh is started with."""
    return {"IMAGE": image, "RUNS": str(tmp_path / "runs"), "BUILD": "no", "NP": "2", "HOSTS": "2"}


def ours() -> set[str]:
    """Every container, network and volume of a cluster of ours."""
    found = set()
    for kind, listing in (
        ("container", ["ps", "-aq"]),
        ("network", ["network", "ls", "-q"]),
        ("volume", ["volume", "ls", "-q"]),
    ):
        found |= {f"{kind} {name}" for name in docker(*listing, "--filter", "label=hvd_train.cluster").split()}
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Each test ends with the containers, networks and volumes that it began with."""
    before = ours()
    yield
    left = ours() - before
    if left:
        run([CLUSTER, "down"], timeout_s=60, ok=None)
    assert not left, f"left behind: {sorted(left)}"


__all__ = ["CLUSTER", "docker", "started"]
