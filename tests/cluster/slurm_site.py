"""Slurm in the laboratory: slurmctld on head, slurmd on node1 and node2. Written for Slurm 22.05."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from control_groups import controllers
from waits import wait_until

if TYPE_CHECKING:
    from lab import Lab

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun")
INSTALL = "Debian: slurm-wlm munge libpmix2 libpmix-dev"
FOLDERS = ()
NODES = ("node1", "node2")
MEMORY_MB = 9000

CONFIGURATION = """\
ClusterName=lab
SlurmctldHost=head
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir=/run/slurm.%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType={proctrack}
TaskPlugin={task}
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
KillWait=10
MinJobAge=3600
SchedulerParameters=sched_interval=5,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
DefMemPerCPU=2000
NodeName=node1,node2 CPUs=2 Boards=1 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory={memory}
PartitionName=main Nodes=node1,node2 Default=YES MaxTime=2:00:00 DefaultTime=0:30:00 State=UP
"""

# A job's memory is held to what it asked for, its cores are not: its own share has to decide. See `constrain_cores`.
GROUPS = """\
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
ConstrainCores={cores}
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
"""


def environment(lab: Lab) -> dict[str, str]:
    """What every command of Slurm needs: nothing, since /etc/slurm has it."""
    return {}


def has_groups(lab: Lab) -> bool:
    """Whether Slurm can hold jobs to their memory and cores here: it needs control groups of version 1, or systemd."""
    return {"freezer", "cpuset", "memory", "devices"} <= {name for group in lab.groups for name in controllers(group)}


def start(lab: Lab) -> None:
    folder = lab.folder / "slurm"
    (folder / "state").mkdir(parents=True)
    grouped = has_groups(lab)
    settings = {
        "folder": folder,
        "memory": MEMORY_MB,
        "proctrack": "proctrack/cgroup" if grouped else "proctrack/linuxproc",
        "task": "task/cgroup" if grouped else "task/none",
    }
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**settings))
    write_groups(lab, cores=False)
    key = secrets.token_bytes(128)
    for host in ("head", *NODES):
        start_munge(lab, host, key)
        lab.on(host, "mount", "--bind", folder, "/etc/slurm", root=True)
    lab.on("head", "slurmctld", "-c", root=True)
    for node in NODES:
        lab.on(node, "slurmd", "-N", node, root=True)
    wait_until(lambda: idle(lab), "the idle nodes of Slurm", log=folder / "slurmd.node1.log")


def start_munge(lab: Lab, host: str, key: bytes) -> None:
    """Slurm's daemons and commands know each other by munge; its key and socket are in the host's own /run."""
    (lab.folder / "munge.key").write_bytes(key)
    (lab.folder / "munge.key").chmod(0o600)
    lab.on(
        host,
        "sh",
        "-ec",
        'install -d -o munge -g munge -m 755 /run/munge; install -o munge -g munge -m 600 "$1" /run/munge/key; '
        "cd /run/munge; exec setpriv --reuid=munge --regid=munge --clear-groups munged "
        "--key-file=/run/munge/key --log-file=/run/munge/log --pid-file=/run/munge/pid --seed-file=/run/munge/seed",
        "sh",
        lab.folder / "munge.key",
        root=True,
    )
    os.remove(lab.folder / "munge.key")


def write_groups(lab: Lab, *, cores: bool) -> None:
    (lab.folder / "slurm" / "cgroup.conf").write_text(GROUPS.format(cores="yes" if cores else "no"))


def idle(lab: Lab) -> bool:
    """Whether both nodes wait for jobs."""
    listed = lab.on("head", "sinfo", "--noheader", "--Node", "--format=%N %t", ok=False).stdout.split("\n")
    return {"node1 idle", "node2 idle"} <= set(listed)
