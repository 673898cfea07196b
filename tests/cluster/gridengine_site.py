"""Grid Engine in the laboratory: the queue master on head, execution daemons on node1 and node2. Written for 8.1.9.

It has a root and a spool folder of its own; those of the packages, in /var, are not touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from waits import wait_until

if TYPE_CHECKING:
    from lab import Lab

PROGRAMS = ("sge_qmaster", "sge_execd", "qsub", "qconf")
INSTALL = "Debian: gridengine-master gridengine-exec gridengine-client"
FOLDERS = ()
NODES = ("node1", "node2")
SHARE = Path("/usr/share/gridengine")
PROGRAM_FOLDER = Path("/usr/lib/gridengine")
# Seconds between the warning of a job submitted with -notify and its end.
NOTIFY_S = 20
PARALLEL_ENVIRONMENT = {
    "pe_name": "mpi",
    "slots": "999",
    "user_lists": "NONE",
    "xuser_lists": "NONE",
    "start_proc_args": "NONE",
    "stop_proc_args": "NONE",
    "allocation_rule": "2",
    "control_slaves": "TRUE",
    "job_is_first_task": "FALSE",
    "urgency_slots": "min",
    "accounting_summary": "FALSE",
    "qsort_args": "NONE",
}
LIMITS = ("rt", "cpu", "fsize", "data", "stack", "core", "rss", "vmem")
NONE = [
    "load_thresholds",
    "suspend_thresholds",
    "ckpt_list",
    "prolog",
    "epilog",
    "starter_method",
    "suspend_method",
    "resume_method",
    "terminate_method",
    "owner_list",
    "user_lists",
    "xuser_lists",
    "subordinate_list",
    "complex_values",
    "projects",
    "xprojects",
    "calendar",
]
QUEUE = {
    "qname": "all.q",
    "hostlist": "@allhosts",
    "seq_no": "0",
    "nsuspend": "1",
    "suspend_interval": "00:05:00",
    "priority": "0",
    "min_cpu_interval": "00:05:00",
    "processors": "UNDEFINED",
    "qtype": "BATCH INTERACTIVE",
    "pe_list": "mpi",
    "rerun": "FALSE",
    "slots": "2",
    "tmpdir": "/tmp",
    "shell": "/bin/bash",
    "shell_start_mode": "unix_behavior",
    "notify": f"00:00:{NOTIFY_S}",
    "initial_state": "default",
    **dict.fromkeys(NONE, "NONE"),
    **{f"{kind}_{limit}": "INFINITY" for kind in "sh" for limit in LIMITS},
}
CONFIGURATION = {
    "min_uid": "100",
    "min_gid": "100",
    "load_report_time": "00:00:02",
    "max_unheard": "00:00:30",
    "mailer": "/bin/true",
    "qrsh_command": "builtin",
    "rsh_command": "builtin",
    "rlogin_command": "builtin",
    "qrsh_daemon": "builtin",
    "rsh_daemon": "builtin",
    "rlogin_daemon": "builtin",
}
SCHEDULE = {
    "schedule_interval": "0:0:2",
    "flush_submit_sec": "1",
    "flush_finish_sec": "1",
    "load_formula": "np_load_avg",
}


def environment(lab: Lab) -> dict[str, str]:
    """What every command of Grid Engine needs."""
    return {
        "SGE_ROOT": f"{lab.folder}/gridengine",
        "SGE_CELL": "default",
        "SGE_QMASTER_PORT": "6444",
        "SGE_EXECD_PORT": "6445",
    }


def start(lab: Lab) -> None:
    root = lab.folder / "gridengine"
    for folder in ("default/common", "spool/qmaster/job_scripts", "spool/execd", "spool/db", "bin", "utilbin", "input"):
        (root / folder).mkdir(parents=True)
    (root / "util").symlink_to(SHARE / "util")
    architecture = lab.on("head", SHARE / "util" / "arch", root=True).stdout.strip()
    for folder in ("bin", "utilbin"):
        (root / folder / architecture).symlink_to(PROGRAM_FOLDER)
    bootstrap = {
        "admin_user": "none",
        "default_domain": "none",
        "ignore_fqdn": "false",
        "spooling_method": "berkeleydb",
        "spooling_lib": "libspoolb",
        "spooling_params": f"{root}/spool/db",
        "binary_path": "/usr/sbin",
        "qmaster_spool_dir": f"{root}/spool/qmaster",
        "security_mode": "none",
        "listener_threads": "2",
        "worker_threads": "2",
        "scheduler_threads": "1",
    }
    (root / "default/common/bootstrap").write_text(table(bootstrap))
    (root / "default/common/act_qmaster").write_text("head\n")
    settings = changed(
        (SHARE / "default-configuration").read_text(), {**CONFIGURATION, "execd_spool_dir": f"{root}/spool/execd"}
    )
    (root / "input/configuration").write_text(settings)
    for command in (
        ("spoolinit", "berkeleydb", "libspoolb", root / "spool/db", "init"),
        ("spooldefaults", "configuration", root / "input/configuration"),
        ("spooldefaults", "complexes", SHARE / "util/resources/centry"),
        ("spooldefaults", "usersets", SHARE / "util/resources/usersets"),
        ("spooldefaults", "managers", "root"),
    ):
        lab.on("head", PROGRAM_FOLDER / command[0], *command[1:], root=True)
    lab.on("head", "sge_qmaster", root=True)
    wait_until(lambda: lab.on("head", "qconf", "-sh", root=True, ok=False).returncode == 0, "the queue master")
    configure(lab, root / "input")
    for node in NODES:
        lab.on(node, "sge_execd", root=True)
    wait_until(lambda: idle(lab), "Grid Engine's hosts")


def configure(lab: Lab, folder: Path) -> None:
    def qconf(*words: str | Path) -> str:
        return lab.on("head", "qconf", *words, root=True).stdout

    # Jobs may submit their follow-up: their hosts are submit hosts, too.
    for host in NODES:
        qconf("-ah", host)
    for host in ("head", *NODES):
        qconf("-as", host)
    files = {
        "group": f"group_name @allhosts\nhostlist {' '.join(NODES)}\n",
        "pe": table(PARALLEL_ENVIRONMENT),
        "queue": table(QUEUE),
        "schedule": changed(qconf("-ssconf"), SCHEDULE),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    for option, name in (("-Ahgrp", "group"), ("-Ap", "pe"), ("-Aq", "queue"), ("-Msconf", "schedule")):
        qconf(option, folder / name)


def table(settings: dict[str, str]) -> str:
    return "".join(f"{key:20} {value}\n" for key, value in settings.items())


def changed(text: str, settings: dict[str, str]) -> str:
    """Grid Engine's `key value` lines with other values."""
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return table({**{key: (rest or [""])[0] for key, *rest in lines}, **settings})


def idle(lab: Lab) -> bool:
    """Whether both queues wait for jobs: their line ends with the architecture, and no state follows."""
    lines = [line.split() for line in lab.on("head", "qstat", "-f", root=True, ok=False).stdout.splitlines()]
    queues = [line for line in lines if line and line[0].startswith("all.q@")]
    return len(queues) == len(NODES) and all(
        len(line) == 5 and line[4] != "-NA-" and line[3] != "-NA-" for line in queues
    )
