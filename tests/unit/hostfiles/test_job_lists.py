"""The lists that schedulers write for their jobs, as files, and the hosts of a job as a hostfile."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvd_train.cli import verbs
from hvd_train.errors import HostfileError
from hvd_train.hostfiles import forms
from hvd_train.hostfiles.hostfile import Host, parse_hostfile

TWO = (Host("node1", 2), Host("node2", 1))


@pytest.mark.parametrize(
    "text",
    [
        "node1\nnode1\nnode2\n",  # PBS_NODEFILE, LSB_DJOB_HOSTFILE
        "node1\nnode2\nNODE1\n",
        "node1 2 all.q@node1 UNDEFINED\nnode2 1 all.q@node2 UNDEFINED\n",  # PE_HOSTFILE
        "node1 1 all.q@node1 <NULL>\nnode2 1 all.q@node2 <NULL>\nnode1 1 more.q@node1 <NULL>\n",  # two queues
        "node1 2 node2 1\n",  # LSB_MCPU_HOSTS
    ],
)
def test_the_lists_of_schedulers_are_read(text: str) -> None:
    hosts = parse_hostfile(text, "F")
    assert hosts == TWO
    assert all(host.slots_given for host in hosts)
    assert forms.write_hostfile(hosts, launcher="mpirun") == "node1 slots=2\nnode2 slots=1\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("node1 0 all.q@node1 UNDEFINED\n", "line 1: slots is '0'"),
        ("node1 2 node2\n", "line 1: '2' is not an option"),
        ("node1\nnode1 slots=2\n", "line 2: node1 was named before"),
        ("-node1\n-node1\n", "line 1: '-node1' is not a host's name"),
        ("node1 2 all.q@node1 UNDEFINED\nnode2\n", "line 1: '2' is not an option"),
    ],
)
def test_what_is_nearly_one_of_them_is_refused_by_line(text: str, says: str) -> None:
    with pytest.raises(HostfileError, match=f"F, {says}"):
        parse_hostfile(text, "F")


def test_check_says_who_reads_them_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("node1\nnode1\nnode2\n")
    told = forms.check(path)
    assert "2 hosts, 3 slots" in told
    assert f"mpirun: reads it as it is: mpirun -np 3 --hostfile {path}" in told
    assert "horovodrun: not as it is" in told
    for text in ("node1 2 all.q@node1 UNDEFINED\n", "node1 2 node2 1\n"):
        path.write_text(text)
        told = forms.check(path)
        assert "mpirun: not as it is" in told
        assert "horovodrun: not as it is" in told


def test_the_hosts_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID"):
        monkeypatch.delenv(variable, raising=False)
    assert verbs.main(["hostfile", "job"]) == 2
    assert "no scheduler started this. Run it in the script of a job" in capsys.readouterr().err
    (tmp_path / "nodes").write_text("node1\nnode1\nnode2\n")
    monkeypatch.setenv("PBS_JOBID", "7.head")
    monkeypatch.setenv("PBS_NODEFILE", str(tmp_path / "nodes"))
    for launcher in ("mpirun", "horovodrun"):
        assert verbs.main(["hostfile", "job", "--for", launcher]) == 0
        assert capsys.readouterr().out == "node1 slots=2\nnode2 slots=1\n"
    monkeypatch.setenv("PBS_NODEFILE", "/nothing")
    assert verbs.main(["hostfile", "job"]) == 2
    assert "/nothing, but this file cannot be read" in capsys.readouterr().err
