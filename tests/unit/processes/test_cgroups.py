"""What a cgroup allows, by the files of both versions: in a container, in a batch job, and where there is no limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvd_train.processes.cgroups import cpu_quota, memory_limit


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, None),
        (  # the least on the way up
            {
                "proc/self/cgroup": "0::/job/step",
                "sys/fs/cgroup/job/cpu.max": "200000 100000",
                "sys/fs/cgroup/job/step/cpu.max": "400000 100000",
            },
            2.0,
        ),
        (  # inside a container: the host's path, the container's own group on top
            {"proc/self/cgroup": "0::/../../docker/abc", "sys/fs/cgroup/cpu.max": "300000 100000"},
            3.0,
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/\n4:cpu,cpuacct:/docker/abc",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            None,
        ),
    ],
)
def test_the_quota_of_a_cgroup(tmp_path: Path, files: dict[str, str], expected: float | None) -> None:
    for name, text in files.items():
        write(tmp_path / name, text)
    assert cpu_quota(tmp_path) == expected


NONE_V1 = str(2**63 - 4096)
# A Slurm job of 1500 MB, whose steps and tasks have groups of their own.
SLURM_V1 = "4:memory:/slurm/uid_2001/job_5/step_batch/task_0\n0::/"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "max"}, None),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": str(512 << 20)}, 512 << 20),
        (
            {
                "proc/self/cgroup": SLURM_V1,
                "sys/fs/cgroup/memory/memory.limit_in_bytes": NONE_V1,
                "sys/fs/cgroup/memory/slurm/uid_2001/memory.limit_in_bytes": NONE_V1,
                "sys/fs/cgroup/memory/slurm/uid_2001/job_5/memory.limit_in_bytes": str(1500 << 20),
                "sys/fs/cgroup/memory/slurm/uid_2001/job_5/step_batch/memory.limit_in_bytes": str(1600 << 20),
            },
            1500 << 20,
        ),
        (
            {
                "proc/self/cgroup": "0::/system.slice/slurmstepd.scope/job_5/step_0/user/task_1",
                "sys/fs/cgroup/system.slice/slurmstepd.scope/memory.max": "max",
                "sys/fs/cgroup/system.slice/slurmstepd.scope/job_5/memory.max": str(700 << 20),
            },
            700 << 20,
        ),
        ({"proc/self/cgroup": "0::/job", "sys/fs/cgroup/unified/job/memory.max": "4096"}, 4096),
        ({"proc/self/cgroup": "a line of another kind\n:\n\n4:memory"}, None),
    ],
)
def test_the_limit_of_memory(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    for name, text in files.items():
        write(tmp_path / name, text)
    assert memory_limit(tmp_path) == expected
