"""What the starts of a run leave on a host: processes, and the places of Open MPI's files."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from supervised import Script, supervise

from hvd_train.cluster.supervise import leftovers
from hvd_train.cluster.supervise.allocation import Allocation
from hvd_train.cluster.supervise.leftovers import MARK, sweep
from hvd_train.hostfiles import Host


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The mark of a run whose places are below `tmp_path`."""
    for name in ("TEMPORARY", "SHARED_MEMORY"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(leftovers, name, str(tmp_path / name))
    return uuid.uuid4().hex


def swept(mark: str, *, to_begin: bool) -> None:
    subprocess.run(["/bin/sh", "-c", sweep(mark, to_begin=to_begin)], check=True, timeout=30)


def test_processes_of_a_run_are_ended_and_no_others(mark: str) -> None:
    def sleeper(mark: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], MARK: mark}, start_new_session=True)

    ours, others = sleeper(mark), sleeper(f"{mark}2")
    try:
        for process in (ours, others):
            while MARK.encode() not in Path(f"/proc/{process.pid}/environ").read_bytes():
                time.sleep(0.01)
        swept(mark, to_begin=False)
        assert ours.wait(10) == -signal.SIGKILL
        assert others.poll() is None
    finally:
        for process in (ours, others):
            process.kill()
            process.wait()


def test_the_places_of_a_run_are_empty_for_a_start_and_gone_after_the_last(mark: str, tmp_path: Path) -> None:
    swept(mark, to_begin=True)
    places = [Path(path) for name, path in leftovers.variables(mark, {}).items() if name != MARK]
    assert [place.parent.name for place in places] == ["TEMPORARY", "SHARED_MEMORY"]
    for place in places:
        assert place.stat().st_mode & 0o777 == 0o700
        (place / "ompi.node1.0" / "pid.7").mkdir(parents=True)
    neighbour = tmp_path / "TEMPORARY" / "hvd_train-of-another-run"
    neighbour.mkdir()
    swept(mark, to_begin=True)
    assert [list(place.iterdir()) for place in places] == [[], []]
    swept(mark, to_begin=False)
    assert not any(place.exists() for place in places)
    assert neighbour.exists()


def test_a_host_without_such_folders_is_no_failure(mark: str, tmp_path: Path) -> None:
    for name in ("TEMPORARY", "SHARED_MEMORY"):
        (tmp_path / name).rmdir()
    swept(mark, to_begin=True)
    assert "OMPI_MCA_btl_vader_backing_directory" not in leftovers.variables(mark, {})


def test_a_place_that_the_user_chose_stays(mark: str) -> None:
    given = leftovers.variables(mark, {"OMPI_MCA_orte_tmpdir_base": "/scratch"})
    assert set(given) == {MARK, "OMPI_MCA_btl_vader_backing_directory"}


def test_every_host_that_answers_is_cleaned_at_the_end(tmp_path: Path) -> None:
    hosts = Allocation(tuple(Host(name, 1) for name in ("node1", "node2", "node3")), "--hosts")
    scripts = Script(4, checkpoint=(1, 0)), Script(0, done=True)
    outcome = supervise(tmp_path, *scripts, allocation=hosts, world={"silent": {2: {"node2"}}})
    assert outcome.code == 0
    first, second, last = outcome.world.asked
    assert set(first) == set(second) == {"node1", "node2", "node3"}
    assert set(last) == {"node1", "node3"}
    lines = [asked["node1"][-1] for asked in outcome.world.asked]
    assert ["mkdir" in line for line in lines] == [True, True, False]
    assert all("rm -rf /tmp/hvd_train-" in line for line in lines)
