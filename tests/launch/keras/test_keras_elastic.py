"""Elastic training with hvd_train.keras under `horovodrun --gloo`: a rank is killed, a host comes and one goes.

Two names of this machine play two hosts. Each wait has an end: the program gives up, the job's time limit kills it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from processes import REPOSITORY, Finished, horovodrun, run

PROGRAM = Path(__file__).with_name("keras_elastic.py")


def train(scenario: str, directory: Path, hosts: str, np: int) -> Finished:
    (directory / "hosts").write_text(hosts)
    discovery = directory / "discover.sh"
    discovery.write_text(f"#!/bin/sh\ncat '{directory}/hosts'\n")
    discovery.chmod(0o755)
    options = ["--gloo", "--network-interfaces", "lo", "--min-np", "1", "--max-np", "2"]
    command = horovodrun(
        np,
        *options,
        "--host-discovery-script",
        discovery,
        sys.executable,
        PROGRAM,
        scenario,
        directory,
    )
    repository = str(REPOSITORY)
    return run(
        command, timeout_s=90, env={"PYTHONPATH": repository, "TF_CPP_MIN_LOG_LEVEL": "2"}, cwd=directory, ok=None
    )


def lines(finished: Finished, start: str) -> list[dict[str, str]]:
    """The lines of all ranks that begin with a word, as their key=value pairs."""
    found = re.findall(rf"^(?:\[[^\]]*\]<std\w+>: ?)?{start}(.*)$", finished.stdout, re.MULTILINE)
    return [dict(re.findall(r"(\w+)=(\[[^\]]*\]|\S+)", rest)) for rest in found]


def assert_ranks_agree(finished: Finished) -> None:
    """In each epoch that several ranks finished, they had the same weights and counts."""
    seen: dict[str, tuple[str, str]] = {}
    together = 0
    for line in lines(finished, "(?=epoch=)"):
        value = (line["iterations"], line["weights"])
        together += line["epoch"] in seen and line["size"] == "2"
        assert seen.setdefault(line["epoch"], value) == value, str(finished)
    assert together > 0, str(finished)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_killed_rank(tmp_path: Path) -> None:
    """The other goes on from the last commit, with all its steps; the host of the dead one is not used again."""
    finished = train("kill", tmp_path, "localhost:1\n127.0.0.1:1\n", np=2)
    assert (tmp_path / "killed").exists(), str(finished)
    done = lines(finished, "done ")
    assert [(d["size"], d["sizes"]) for d in done] == [("1", "[2, 1]")], str(finished)
    again = [line for line in lines(finished, "start ") if line["size"] == "1"]
    # Killed in the second epoch after its second step: at least the first epoch's four steps were committed.
    assert len(again) == 1, str(finished)
    assert again[0]["epoch"] == "1"
    assert int(again[0]["iterations"]) >= 4
    assert int(done[0]["iterations"]) > int(again[0]["iterations"])
    assert_ranks_agree(finished)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_host_that_comes_and_one_that_goes(tmp_path: Path) -> None:
    """The new rank takes the state of the old one, and training goes on when it is gone."""
    finished = train("come and go", tmp_path, "localhost:1\n", np=1)
    done = [line for line in lines(finished, "done ") if line["rank"] == "0"]
    assert [(d["size"], d["sizes"]) for d in done] == [("1", "[1, 2, 1]")], str(finished)
    joined = [line for line in lines(finished, "start ") if line["rank"] == "1"]
    assert len(joined) == 1, str(finished)
    assert int(joined[0]["epoch"]) >= 1
    assert int(joined[0]["iterations"]) >= 4
    assert_ranks_agree(finished)
