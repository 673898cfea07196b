"""The hosts of a job, from the environments and files of real jobs, and from damaged ones."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hvd_train.errors import UserError
from hvd_train.schedulers import BatchScheduler, GridEngine, Lsf, Pbs, Slurm, scheduler_of_job
from hvd_train.schedulers.allocation import allocated
from hvd_train.schedulers.slurm import expand_counts, expand_hosts


def hosts(scheduler: BatchScheduler, environment: dict[str, str]) -> dict[str, int]:
    """With their slots, in the order of the scheduler."""
    return {host.name: host.slots for host in scheduler.hosts(environment)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("node1\nnode1\nnode2\nnode2\n", {"node1": 2, "node2": 2}),
        ("node1\nnode2\nnode1\n", {"node1": 2, "node2": 1}),
        ("node1.lab.example\n\n  node2.lab.example  ", {"node1.lab.example": 1, "node2.lab.example": 1}),
    ],
)
def test_pbs_has_a_line_for_each_rank(tmp_path: Path, text: str, expected: dict[str, int]) -> None:
    (tmp_path / "nodes").write_text(text)
    found = hosts(Pbs(), {"PBS_NODEFILE": str(tmp_path / "nodes")})
    assert found == expected
    assert list(found) == list(expected)


def test_grid_engine_has_slots_by_host_and_queue(tmp_path: Path) -> None:
    """The first sample is a job of Grid Engine 8.1.9 with -pe mpi 4."""
    file = tmp_path / "hosts"
    file.write_text("node1 2 all.q@node1 UNDEFINED\nnode2 2 all.q@node2 UNDEFINED\n")
    environment = {"JOB_ID": "1", "SGE_TASK_ID": "undefined", "HOSTNAME": "node1", "PE_HOSTFILE": str(file)}
    assert hosts(GridEngine(), environment) == {"node1": 2, "node2": 2}
    file.write_text("node1 1 all.q@node1 UNDEFINED\nnode1 3 long.q@node1 UNDEFINED\nnode2 4 all.q@node2 0,0:0,1\n")
    assert hosts(GridEngine(), environment) == {"node1": 4, "node2": 4}
    assert hosts(GridEngine(), environment | {"HVD_TRAIN_CPUS_PER_RANK": "2"}) == {"node1": 2, "node2": 2}
    del environment["PE_HOSTFILE"]  # a job of one slot, without a parallel environment
    assert hosts(GridEngine(), environment) == {"node1": 1}


def test_lsf_has_a_line_for_each_slot_or_pairs(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("node1\nnode1\nnode2\nnode2\n")
    pairs = {"LSB_MCPU_HOSTS": "node3 2 node4 1"}
    assert hosts(Lsf(), pairs | {"LSB_DJOB_HOSTFILE": str(file)}) == {"node1": 2, "node2": 2}
    assert hosts(Lsf(), pairs) == {"node3": 2, "node4": 1}


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ("batch1 1 a01 42 a02 42", {"a01": 42, "a02": 42}),
        ("a01 1 a02 1", {"a01": 1, "a02": 1}),
        ("a01 1", {"a01": 1}),
        ("a01 1 a02 2 a03 4", {"a01": 1, "a02": 2, "a03": 4}),
    ],
)
def test_a_launch_host_of_lsf_takes_no_ranks(pairs: str, expected: dict[str, int]) -> None:
    assert hosts(Lsf(), {"LSB_MCPU_HOSTS": pairs}) == expected


@pytest.mark.parametrize(
    ("scheduler", "environment", "message"),
    [
        (Pbs(), {}, "PBS_NODEFILE is not set: this is no PBS job"),
        (Pbs(), {"PBS_NODEFILE": "/nowhere/nodes"}, "PBS_NODEFILE is /nowhere/nodes, but this file cannot be read"),
        (GridEngine(), {}, "PE_HOSTFILE is not set: this is no Grid Engine job"),
        (Lsf(), {}, "Neither LSB_DJOB_HOSTFILE nor LSB_MCPU_HOSTS is set"),
        (Lsf(), {"LSB_MCPU_HOSTS": "node1 2 node2"}, "'node2' with '' slots is none"),
        (Lsf(), {"LSB_MCPU_HOSTS": "node1 0"}, "'node1' with '0' slots is none"),
        (Lsf(), {"LSB_MCPU_HOSTS": "-oProxyCommand=x 2"}, "'-oProxyCommand=x' with '2' slots is none"),
        (Slurm(), {"SLURM_JOB_NODELIST": "node[1-"}, "'node\\[1-' is no list of hosts of Slurm"),
        (Slurm(), {"SLURM_JOB_NODELIST": "n[1-999999999]"}, "100000 hosts or more"),
        (Slurm(), {"SLURM_JOB_NODELIST": "n[0-9999][0-9999]"}, "100000 hosts or more"),
        (Slurm(), {"SLURM_JOB_NODELIST": "n", "SLURM_TASKS_PER_NODE": "many"}, "'many' is no list of counts of Slurm"),
    ],
)
def test_what_is_no_allocation_is_refused(scheduler: BatchScheduler, environment: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        scheduler.hosts(environment)


def test_an_empty_file_names_no_host(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("\n \n")
    with pytest.raises(UserError, match="PBS_NODEFILE is set in this PBS job, but it names no host"):
        Pbs().hosts({"PBS_NODEFILE": str(tmp_path / "nodes")})


@pytest.mark.parametrize("scheduler", [Pbs(), GridEngine()])
@given(text=st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
@example(text="node1 -1 q\n")
@example(text="node1 ² q\n")
def test_a_damaged_file_is_refused_or_read(
    scheduler: BatchScheduler, text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "forged"
    file.write_text(text)
    with contextlib.suppress(UserError):
        assert all(host.slots > 0 for host in scheduler.hosts({"PBS_NODEFILE": str(file), "PE_HOSTFILE": str(file)}))


@given(listed=st.text(alphabet="n1290[]-,. (x)²") | st.text())
@example("n[1-2]" * 60)
@example("a" * 100 + "[")
def test_forged_lists_of_slurm_are_refused_or_read(listed: str) -> None:
    for read in (expand_hosts, expand_counts):
        with contextlib.suppress(UserError):
            assert len(read(listed)) < 10**6


@given(counts=st.dictionaries(st.from_regex(r"[a-z][a-z0-9.-]{0,9}", fullmatch=True), st.integers(1, 999), min_size=1))
def test_what_is_written_is_read(counts: dict[str, int]) -> None:
    pairs = [(name, str(count)) for name, count in counts.items()]
    assert {host.name: host.slots for host in allocated(pairs, "X", "Y")} == counts
    words = [word for pair in pairs for word in pair]
    if len(counts) == 1:
        assert hosts(Lsf(), {"LSB_MCPU_HOSTS": " ".join(words)}) == counts


def test_agents_reach_the_other_hosts() -> None:
    assert Slurm().launch_agent({}) is None
    agents = {scheduler.flag: scheduler.launch_agent({}) for scheduler in (Pbs(), GridEngine(), Lsf())}
    assert {flag: agent.command for flag, agent in agents.items() if agent} == {
        "pbs": "{script}",
        "sge": "qrsh -inherit -nostdin -V",
        "lsf": "blaunch",
    }


@pytest.mark.parametrize(
    ("given_host", "nodes", "reached"),
    [
        ("node2", "node1\nnode2\n", "node2"),
        ("node2", "node1.lab\nnode21.lab\nnode2.lab\n", "node2.lab"),
        ("node2", "", "node2"),
        ("n.de2", "node2\n", "n.de2"),
    ],
)
def test_the_agent_of_pbs_gives_the_command_as_one_line_of_a_shell(
    tmp_path: Path, given_host: str, nodes: str, reached: str
) -> None:
    """mpirun passes the command as one word, and cuts a name at its first dot. pbs_tmrsh takes the full name."""
    agent = Pbs().launch_agent({})
    assert agent
    for name, text in (("agent", agent.script), ("pbs_tmrsh", '#!/bin/sh\necho "$1"; shift; exec "$@"\n')):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "nodes").write_text(nodes)
    command = [tmp_path / "agent", given_host, "  PATH=/x:$PATH ; export PATH ; echo ran", "orted", "-x 'a b'"]
    for path, configuration in ((f"{tmp_path}:/usr/bin:/bin", ""), ("/usr/bin:/bin", f"PBS_EXEC={tmp_path / 'pbs'}\n")):
        if configuration:
            (tmp_path / "pbs").mkdir()
            (tmp_path / "pbs" / "bin").symlink_to(tmp_path)
        (tmp_path / "pbs.conf").write_text(configuration)
        variables = {"PATH": path, "PBS_NODEFILE": str(tmp_path / "nodes"), "PBS_CONF_FILE": str(tmp_path / "pbs.conf")}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
        assert done.stdout.splitlines() == [reached, "ran orted -x a b"], done.stderr


def test_the_scheduler_of_a_job_is_found() -> None:
    assert scheduler_of_job({}) is None
    found = scheduler_of_job({"PBS_JOBID": "12.server"})
    assert found is not None
    assert found.flag == "pbs"
