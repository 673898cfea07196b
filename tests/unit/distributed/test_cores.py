"""Which cores a rank gets, on any machine: every figure is made up, nothing of this machine is asked but in one test."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hvd_train.distributed.cores import Machine, assign_cores, parse_cpu_list, read_machine, shared_cores


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    """A cpuset of some CPUs of a machine with packages, cores, hyper-threads, NUMA nodes and perhaps a quota."""
    num_nodes, cores, threads = draw(st.integers(1, 4)), draw(st.integers(1, 16)), draw(st.sampled_from([1, 2, 4]))
    total = num_nodes * cores * threads
    # Linux numbers the first hyper-threads of all cores, then the second ones.
    where = {cpu: divmod(cpu % (num_nodes * cores), cores) for cpu in range(total)}
    cpus = draw(st.sets(st.integers(0, total - 1), min_size=1))
    quota = draw(st.none() | st.floats(0.1, total))
    return Machine(tuple(sorted(cpus)), where, {cpu: node for cpu, (node, _) in where.items()}, quota)


@given(machine=machines(), local_size=st.integers(1, 80))
def test_parts_are_disjoint_inside_the_cpuset_and_fair(machine: Machine, local_size: int) -> None:
    shares = [assign_cores(machine, rank, local_size) for rank in range(local_size)]
    assert all(share.cpus and set(share.cpus) <= set(machine.cpus) for share in shares)
    assert all(share.num_threads >= 1 for share in shares)
    if local_size <= len(machine.cpus):
        assert sum(len(s.cpus) for s in shares) == len(set().union(*(s.cpus for s in shares)))
        if machine.quota is None:
            assert not any(s.oversubscribed for s in shares)
            assert sum(s.num_threads for s in shares) <= len(machine.cpus)
    else:
        assert all(s.oversubscribed and len(s.cpus) == 1 for s in shares)
        loads = [sum(cpu in s.cpus for s in shares) for cpu in machine.cpus]
        assert max(loads) - min(loads) <= 1
    if local_size <= len(machine.units()):
        # Whole cores: no two ranks on hyper-threads of one.
        owners = [{machine.cores[cpu] for cpu in s.cpus} for s in shares]
        assert sum(map(len, owners)) == len(set().union(*owners)) == len(machine.units())
        assert max(map(len, owners)) - min(map(len, owners)) <= 1
    if machine.quota is not None:
        assert sum(s.num_threads for s in shares) <= max(local_size, machine.quota)
        assert all(s.oversubscribed for s in shares) or machine.quota >= local_size


@given(num_nodes=st.integers(1, 4), ranks_per_node=st.integers(1, 4), cores_per_rank=st.integers(1, 4))
def test_a_rank_stays_in_its_numa_node(num_nodes: int, ranks_per_node: int, cores_per_rank: int) -> None:
    # Nodes take turns in the numbering, as on some machines.
    total = num_nodes * ranks_per_node * cores_per_rank
    machine = Machine(tuple(range(total)), nodes={cpu: cpu % num_nodes for cpu in range(total)})
    for rank in range(num_nodes * ranks_per_node):
        share = assign_cores(machine, rank, num_nodes * ranks_per_node)
        assert len({machine.nodes[cpu] for cpu in share.cpus}) == 1
        assert share.num_threads == cores_per_rank


def test_hyper_threads_count_once() -> None:
    machine = Machine((0, 1, 2, 3), cores={0: (0, 0), 2: (0, 0), 1: (0, 1), 3: (0, 1)})
    assert [assign_cores(machine, r, 2).cpus for r in range(2)] == [(0, 2), (1, 3)]
    assert assign_cores(machine, 0, 2).num_threads == 1
    assert assign_cores(machine, 0, 1).num_threads == 2
    assert [assign_cores(machine, r, 4).cpus for r in range(4)] == [(0,), (1,), (2,), (3,)]
    assert not assign_cores(machine, 0, 4).oversubscribed


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_this_machine_is_read_and_a_missing_sys_is_no_error(tmp_path: Path) -> None:
    assert set(read_machine().cpus) == os.sched_getaffinity(0)
    bare = read_machine(tmp_path)
    assert bare.units() == [(cpu,) for cpu in bare.cpus]
    for cpu in bare.cpus[:2]:
        write(tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id", "0")
        write(tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology/core_id", "7")
    write(tmp_path / "sys/devices/system/node/node3/cpulist", "0-63")
    read = read_machine(tmp_path)
    assert read.units()[0] == bare.cpus[:2]
    assert set(read.nodes.values()) == {3}


def test_a_cpu_list() -> None:
    assert parse_cpu_list("0-2,8,10-11\n") == [0, 1, 2, 8, 10, 11]
    assert parse_cpu_list("") == []


def test_a_job_that_shares_its_host_has_threads_for_its_cpus_and_is_bound_to_none() -> None:
    """Two PBS jobs of one CPU, on a node of two, had both taken core 0."""
    host = Machine((0, 1, 2, 3), granted=2)
    assert host.is_shared
    for local_size, threads, over in ((1, 2, False), (2, 1, False), (4, 1, True)):
        share = shared_cores(host, local_size)
        assert (share.cpus, share.num_threads, share.oversubscribed, share.exclusive) == (
            host.cpus,
            threads,
            over,
            False,
        )
    assert shared_cores(Machine((0, 1, 2, 3), granted=3, quota=1.5), 1).num_threads == 1
    # Hyper-threads that were given as CPUs are no cores.
    cores = {cpu: (0, cpu % 2) for cpu in range(4)}
    assert shared_cores(Machine((0, 1, 2, 3), cores, granted=3), 1).num_threads == 2
    for whole in (Machine((0, 1)), Machine((0, 1), granted=2), Machine((0, 1), granted=8)):
        assert not whole.is_shared
