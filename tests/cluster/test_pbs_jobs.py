"""PBS: a run to its end, and over its walltime by a chain of jobs.

OpenPBS is no package of Debian, so the laboratory has none. These tests use the PBS of this machine, as this user, where
PBS_EXEC is set to its prefix, and the home directory has to be shared with its hosts.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch import pace, submit
from processes import BIN

PREFIX = os.environ.get("PBS_EXEC", "")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


class Site:
    """This machine, with the interface of a laboratory that `batch` needs."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def on(
        self, _host: str, *command: str | Path, ok: bool = True, timeout_s: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(BIN), f"{PREFIX}/bin", os.environ["PATH"]])
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd=self.home,
            env={**os.environ, "PATH": path},
        )
        assert not ok or done.returncode == 0, f"{command}: code {done.returncode}\n{done.stdout}{done.stderr}"
        return done


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    if not PREFIX:
        pytest.skip("PBS_EXEC is not set: OpenPBS is no package of Debian, so it is tested where a PBS is installed")
    with tempfile.TemporaryDirectory(prefix="hvd-pbs-", dir=Path.home()) as home:
        site = Site(Path(home))
        if refused := site.on("", "qstat", "-B", ok=False).stderr.strip():
            pytest.skip(f"PBS does not answer: {refused}")
        yield site


def lists(site: Site, job: str) -> bool:
    return site.on("", "qstat", job, ok=False).returncode == 0


def test_a_run_that_is_over_its_walltime_ends_as_an_undisturbed_one(site: Site) -> None:
    pace(site, 0)  # type: ignore[arg-type]
    options = ("--nodes", "2", "--ranks-per-node", "2", "--time", "0:20:00")
    undisturbed = submit(site, "pbs", *options)  # type: ignore[arg-type]
    undisturbed.wait_for(lambda: not lists(site, undisturbed.id), "the end")
    assert undisturbed.done, undisturbed.text

    pace(site, 90)  # type: ignore[arg-type]
    run = submit(site, "pbs", *options, "--warn", "1110")  # type: ignore[arg-type]
    run.wait_for_text("a checkpoint and end")
    pace(site, 0)  # type: ignore[arg-type]
    run.wait_for(lambda: len(run.history) >= 2, "the end of the first start")
    saved = run.history[1]
    assert (saved["code"], saved["outcome"], saved["next"]) == (85, "saved", "continue"), run.text
    run.wait_for(lambda: run.done, "DONE")
    assert run.weights() == undisturbed.weights()
