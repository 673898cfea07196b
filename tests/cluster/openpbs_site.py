"""OpenPBS in the laboratory: server and scheduler on head, execution daemons on node1 and node2. Written for 23.06.

scripts/openpbs.sh builds it. Its state, its database too, is in each host's own /run.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from waits import wait_until

if TYPE_CHECKING:
    from lab import Lab

CACHE = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
PREFIX = Path(os.environ.get("PBS_EXEC") or Path(CACHE, "hvd_train", "openpbs-23.06.06"))
PROGRAMS = ("pbs_server", "pbs_sched", "pbs_comm", "pbs_mom", "pbs_tmrsh", "qmgr")
INSTALL = "scripts/openpbs.sh builds OpenPBS"
FOLDERS = (PREFIX / "bin", PREFIX / "sbin")
NODES = ("node1", "node2")
SLOTS = 2
TRIES = 5
CONFIGURATION = Path("/run/pbs.conf")
HOME = Path("/run/pbs")
# What the installation makes in PBS_HOME. It would write below /etc and /opt, too.
PLACES = {
    "0755": ("server_logs", "server_priv/accounting", "sched_logs", "comm_logs", "aux", "mom_logs"),
    "0750": ("server_priv", "server_priv/jobs", "server_priv/users", "server_priv/hooks", "server_priv/hooks/tmp"),
    "0751": ("sched_priv", "mom_priv", "mom_priv/jobs", "mom_priv/hooks", "mom_priv/hooks/tmp"),
    "0700": ("checkpoint",),
    "1777": ("spool", "undelivered"),
}
SCHEDULER_FILES = {
    "pbs_dedicated": "dedicated_time",
    "pbs_holidays": "holidays",
    "pbs_resource_group": "resource_group",
    "pbs_sched_config": "sched_config",
}
SERVER = [
    "set server acl_roots = root@*",
    "set server flatuid = True",
    "set server job_history_enable = True",
    "set server scheduler_iteration = 5",
    "set server scheduling = True",
    *(f"create node {node} resources_available.ncpus={SLOTS}" for node in NODES),
]


def environment(lab: Lab) -> dict[str, str]:
    """What every command and job of PBS needs here: a machine has its configuration in /etc."""
    return {"PBS_CONF_FILE": str(CONFIGURATION)}


def start(lab: Lab) -> None:
    for host in ("head", *NODES):
        write_files(lab, host)
    make_database(lab)
    for daemon in ("pbs_comm", "pbs_server", "pbs_sched"):
        lab.on("head", daemon, root=True, timeout_s=60)
    wait_until(lambda: lab.on("head", "qstat", "-B", root=True, ok=False).returncode == 0, "the server of PBS")
    for command in SERVER:
        lab.on("head", "qmgr", "-c", command, root=True)
    for node in NODES:
        lab.on(node, "pbs_mom", root=True)
    wait_until(lambda: idle(lab), "the hosts of PBS", timeout_s=60)


def make_database(lab: Lab) -> None:
    """With a queue in it. The program goes on as soon as the database has a process, which may not answer yet."""
    for attempt in range(1, TRIES + 1):
        done = lab.on("head", PREFIX / "libexec" / "pbs_habitat", root=True, ok=attempt == TRIES, timeout_s=120)
        if done.returncode == 0:
            return
        lab.on("head", "sh", "-c", f"pkill -KILL -x postgres; rm -rf {HOME}", root=True)
        write_files(lab, "head")


def write_files(lab: Lab, host: str) -> None:
    """PBS_HOME and pbs.conf of a host, in its own /run."""
    is_head = int(host == "head")
    settings = {
        "PBS_EXEC": PREFIX,
        "PBS_HOME": HOME,
        "PBS_SERVER": "head",
        "PBS_START_SERVER": is_head,
        "PBS_START_SCHED": is_head,
        "PBS_START_COMM": is_head,
        "PBS_START_MOM": 1 - is_head,
        "PBS_CORE_LIMIT": "unlimited",
        "PBS_SCP": "/bin/false",
    }
    files = {
        CONFIGURATION: "".join(f"{name}={value}\n" for name, value in settings.items()),
        HOME / "pbs_environment": f"PATH=/usr/local/bin:/usr/bin:/bin\nPBS_CONF_FILE={CONFIGURATION}\n",
        HOME / "server_priv" / "db_user": "postgres",
        HOME / "mom_priv" / "config": "$clienthost head\n$usecp *:/ /\n$restrict_user false\n",
    }
    lines = [f"install -d -m {mode} {HOME / place}" for mode, places in PLACES.items() for place in places]
    for file, text in files.items():
        draft = lab.folder / f"pbs.{file.name}"
        draft.write_text(text)
        lines.append(f"install -m {'600' if file.name == 'db_user' else '644'} {draft} {file}")
    for source, name in SCHEDULER_FILES.items():
        lines.append(f"install -m 644 {PREFIX / 'etc' / source} {HOME / 'sched_priv' / name}")
    lines.append("install -d -o postgres -m 2775 /run/postgresql")  # the socket of its database
    hooks = next(PREFIX.glob("lib*/python/altair/pbs_hooks"))
    lines.append(f"cp {hooks}/* {HOME / 'server_priv' / 'hooks'}")
    lines.append(f"rm -f {HOME}/server_priv/hooks/PBS_xeon_phi_provision.*")
    lab.on(host, "sh", "-ec", "\n".join(lines), root=True)


def idle(lab: Lab) -> bool:
    """Whether both hosts wait for jobs."""
    shown = lab.on("head", "pbsnodes", "-a", root=True, ok=False).stdout
    return shown.count("state = free") == len(NODES)
