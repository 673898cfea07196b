"""The doctor in a batch job: judged purely, and asked through small programs that stand in for a scheduler's."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from hvd_train.doctor import job, job_rules
from hvd_train.doctor.job_rules import Answer
from hvd_train.doctor.rules import Finding
from hvd_train.hostfiles.hostfile import Host

# From `ompi_info --parsable` of the locked Open MPI, and of Debian's.
LOCKED = "mca:plm:isolated:version:mca:2.1.0\nmca:plm:rsh:version:mca:2.1.0\nmca:ras:slurm:version:mca:2.1.0\n"
DEBIANS = LOCKED + "mca:ras:gridengine:version:mca:2.1.0\nmca:ras:gridengine:version:api:2.0.0\n"
LISTED = "MPI plugin types are...\n\tcray_shasta\n\tnone\n\tpmi2\n"
TWO = {"node1": Answer(0, "word\n"), "node2": Answer(0, "")}


@pytest.mark.parametrize(
    ("finding", "level", "words"),
    [
        (job_rules.judge_job("Slurm job 5", [Host("a", 2), Host("b", 1)]), "ok", "3 slots on 2 hosts (a: 2, b: 1)"),
        (job_rules.judge_job("PBS job 5", [], "PBS_NODEFILE is not set."), "warning", "PBS_NODEFILE is not set"),
        (job_rules.judge_share(1, 4), "ok", "1 of the 4 that this process may use: other jobs share them"),
        (job_rules.judge_share(2, 1), "warning", "2, of which this process may use 1"),
        (job_rules.judge_share(2, 2), "ok", "2"),
        (job_rules.judge_share(None, 2), "ok", "does not say"),
        (job_rules.judge_hosts(TWO, "srun", 15), "ok", "node1, node2 answer through srun"),
        (job_rules.judge_hosts({"b": Answer(None, "")}, "ssh", 15), "error", "b: no answer within 15 s"),
        (job_rules.judge_hosts({"b": Answer(255, "x\nno route\n")}, "ssh", 15), "error", "b: no route"),
        (job_rules.judge_shared(TWO, "word", "/w"), "warning", "node2 does not see what is written to /w here"),
        (job_rules.judge_shared({"node1": TWO["node1"]}, "word", "/w"), "ok", "/w is one directory on all hosts"),
        (job_rules.judge_parts("Slurm", LOCKED), "ok", "allocation: slurm; start: isolated, rsh"),
        (job_rules.judge_parts("PBS", LOCKED), "warning", "plain mpirun uses the first host alone"),
        (job_rules.judge_parts("Grid Engine", LOCKED), "warning", "hvd-train hostfile job"),
        (job_rules.judge_parts("Grid Engine", DEBIANS), "ok", "allocation: slurm, gridengine"),
        (job_rules.judge_pmix(LISTED + "\tpmix\n", 0, ""), "ok", "works"),
        (job_rules.judge_pmix(LISTED + "\tpmix\n", 1, "can not load PMIx library"), "warning", "can not load PMIx"),
        (job_rules.judge_pmix(LISTED, 1, "invalid"), "warning", "this Slurm has none (cray_shasta, none, pmi2)"),
        (job_rules.judge_time(3700, True, "LSF"), "ok", "1:01:40 left; LSF sends a signal"),
        (job_rules.judge_time(60, False, "PBS"), "warning", "0:01:00 left; PBS sends no signal"),
        (job_rules.judge_time(60, None, "Slurm"), "ok", "is not known"),
        (job_rules.judge_time(None, False, "PBS"), "ok", "no limit is known"),
    ],
)
def test_each_finding_has_its_level_and_its_way_out(finding: Finding, level: str, words: str) -> None:
    assert finding.level == level
    assert words in str(finding)
    assert bool(finding.way_out) == (level != "ok")


def test_what_cannot_be_known_is_no_finding() -> None:
    assert job_rules.judge_shared({"b": Answer(None, "")}, "word", "/w") is None
    assert job_rules.judge_parts("PBS", "") is None
    assert job_rules.judge_parts("Flux", LOCKED) is None


def fake(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs, first in PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    fake(folder, "mpirun", "exit 0")
    fake(folder, "ompi_info", f"printf '{LOCKED}'".replace("\n", "\\n"))
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(job, "ANSWER_S", 3.0)
    return folder


def test_a_job_of_slurm(tmp_path: Path, programs: Path) -> None:
    # node2 sees our files, node3 does not, node4 hangs.
    fake(
        programs,
        "srun",
        "case \"$*\" in --mpi=list*) printf 'MPI plugin types are...\\n\\tpmix\\n' ;; *nodelist=node3*) ;;\n"
        '*nodelist=node4*) sleep 60 ;; *nodelist=node2*) for last; do :; done; sh -c "$last" ;; esac',
    )
    fake(programs, "squeue", "echo 1:59:58")
    nodes = f"{socket.gethostname()},node[2-4]"
    environment = {"SLURM_JOB_ID": "5", "SLURM_JOB_NODELIST": nodes, "SLURM_TASKS_PER_NODE": "2(x4)"}
    began = time.monotonic()
    found = {finding.about: str(finding) for finding in job.examine_job(environment, folder=tmp_path)}
    assert time.monotonic() - began < 20
    assert "Slurm job 5, 8 slots on 4 hosts" in found["job"]
    assert "error" in found["hosts"]
    assert "node4: no answer within 3 s" in found["hosts"]
    assert "node2" not in found["hosts"]
    assert "node3 does not see what is written to" in found["files"]
    assert "srun --mpi=pmix works" in found["PMIx"]
    assert "1:59:58 left" in found["time"]
    assert "allocation: slurm" in found["mpirun sees"]
    assert [path.name for path in tmp_path.iterdir()] == ["programs"], "a file was left"


def test_a_job_of_grid_engine_is_asked_through_qrsh(tmp_path: Path, programs: Path) -> None:
    fake(programs, "qrsh", 'test "$1 $4" = "-inherit node2" && shift 4 && exec sh -c "$*"')
    fake(programs, "qstat", "echo '<JB_job_number>9</JB_job_number><JB_notify>true</JB_notify>'")
    (tmp_path / "pe").write_text(f"{socket.gethostname()} 2 all.q@x UNDEFINED\nnode2 2 all.q@node2 UNDEFINED\n")
    environment = {"JOB_ID": "9", "SGE_TASK_ID": "undefined", "PE_HOSTFILE": str(tmp_path / "pe"), "NSLOTS": "4"}
    found = {finding.about: str(finding) for finding in job.examine_job(environment, folder=tmp_path)}
    assert "node2 answers through qrsh" in found["hosts"]
    assert "is one directory on all hosts of the job" in found["files"]
    assert "sends a signal before the limit" in found["time"]
    assert "It knows no Grid Engine" in found["mpirun sees"]
    assert "PMIx" not in found


def test_outside_of_a_job_nothing_is_said_and_a_scheduler_that_is_gone_is_no_crash(
    tmp_path: Path, programs: Path
) -> None:
    assert job.examine_job({}, folder=tmp_path) == []
    (tmp_path / "nodes").write_text("node2\n")
    environment = {"PBS_JOBID": "7.head", "PBS_NODEFILE": str(tmp_path / "nodes")}
    found = {finding.about: str(finding) for finding in job.examine_job(environment, folder=tmp_path)}
    assert "error" in found["hosts"]
    assert "no limit is known" in found["time"]
