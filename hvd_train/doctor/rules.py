"""The doctor's judgement: what was found on a machine -> findings with a way out. Pure functions; nothing is looked up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hvd_train.text import MIB, memory

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
# Bridges that exist on many hosts with the same address, so that MPI finds itself there instead of its peer.
TRAPS = re.compile(r"(docker|virbr|lxcbr|lxdbr|podman|cni|br-|vmnet|veth)")
# In MiB. Docker gives a container 64; Open MPI keeps some for every pair of ranks on a host.
LEAST_SHM_MB, LEAST_MEMORY_MB = 256, 2048
SETUP = "Run `make setup` in the checkout, or activate the environment that it made. In another environment: hvd-train horovod install"


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `way_out` says what to do about a warning or an error."""

    level: Literal["ok", "warning", "error"]
    about: str
    found: str
    way_out: str = ""

    def __str__(self) -> str:
        way_out = f"\n         {'':12}{self.way_out}" if self.way_out else ""
        return f"{self.level:<8} {self.about:<12}{self.found}{way_out}"


def judge_python(version: tuple[int, int], executable: str) -> Finding:
    found = f"{version[0]}.{version[1]} ({executable})"
    if OLDEST_PYTHON <= version <= NEWEST_PYTHON:
        return Finding("ok", "Python", found)
    return Finding("error", "Python", found, "TensorFlow 2.21 needs Python 3.10 to 3.13: make setup PYTHON=python3.11")


def judge_tensorflow(probe: dict[str, Any]) -> Finding:
    if "error" in probe:
        return Finding("error", "TensorFlow", f"cannot be imported: {probe['error']}", SETUP)
    return Finding("ok", "TensorFlow", f"{probe['tensorflow']}, Keras {probe['keras']}")


def judge_tensorflow_engine(probe: dict[str, Any]) -> Finding | None:
    """Whether ranks can be joined by TensorFlow alone. None where TensorFlow itself is missing: another finding reports that."""
    if "error" in probe:
        return None
    about = "no MPI"
    if not probe.get("collectives"):
        found = f"TensorFlow {probe['tensorflow']} has no collectives that --engine tensorflow can use"
        return Finding("warning", about, found, "Use Horovod and mpirun, or TensorFlow 2.21.")
    return Finding("ok", about, "--engine tensorflow can be used: hvd-train launch --np 2 -- train")


def judge_horovod(probe: dict[str, Any]) -> Finding:
    """By importing it: `horovodrun --check-build` ends with 0 whatever it finds, and ticks what is not there."""
    if "error" in probe:
        return Finding("error", "Horovod", f"cannot be imported: {probe['error']}", SETUP)
    parts = ", ".join(f"{name} {'yes' if probe[name] else 'no'}" for name in ("mpi", "gloo"))
    found = f"{probe['horovod']} (built with TensorFlow, MPI and Gloo: {parts})"
    if not probe["mpi"]:
        return Finding(
            "error", "Horovod", found, "It was built without MPI, so mpirun's ranks do not find each other. " + SETUP
        )
    return Finding("ok", "Horovod", found)


def open_mpi_version(text: str) -> str:
    """ "4.1.8" of "mpirun (Open MPI) 4.1.8" and of "Open MPI v4.1.8, package: ..."; empty for another MPI."""
    match = re.search(r"Open MPI\)? v?(\d+\.\d+\.\d+)", text)
    return match[1] if match else ""


def judge_mpirun(path: str | None, version_text: str) -> Finding:
    if path is None:
        return Finding("error", "mpirun", "is not on PATH", SETUP)
    version = open_mpi_version(version_text)
    found = f"{version or version_text.strip().splitlines()[0:1] or 'says nothing'} ({path})"
    if not version:
        return Finding("warning", "mpirun", found, "It is not Open MPI, with which all of this was tried.")
    if int(version.split(".")[0]) >= 5:
        way_out = 'horovodrun 0.28 fails with it ("Executable: none"): use mpirun, or add --binding-args="--bind-to none --map-by slot".'
        return Finding("warning", "mpirun", found, way_out)
    return Finding("ok", "mpirun", found)


def judge_library(about: str, probe: dict[str, Any], mpirun_version_text: str) -> Finding | None:
    """Whether what launches and what is linked are one MPI; None where nothing is known to be linked."""
    library, text = probe.get("library"), str(probe.get("library_version", ""))
    if not library:
        return None
    linked, launched = open_mpi_version(text), open_mpi_version(mpirun_version_text)
    found = f"{about} is linked to Open MPI {linked or 'of unknown version'} ({library})"
    if linked and launched and linked != launched:
        way_out = f"mpirun is {launched}: each rank would believe to be alone. Put the matching mpirun first in PATH, or run make setup."
        return Finding("error", "MPI library", found, way_out)
    return Finding("ok", "MPI library", found)


def judge_mpi4py(probe: dict[str, Any]) -> Finding:
    if "error" in probe:
        return Finding("error", "mpi4py", f"cannot be imported: {probe['error']}", SETUP)
    return Finding("ok", "mpi4py", str(probe["mpi4py"]))


def judge_cores(cores: int, quota: float | None) -> Finding:
    """`quota` is the cgroup's limit in cores, None without one."""
    if quota is not None and quota < cores:
        way_out = f"Start no more than {max(1, int(quota))} ranks here: threads beyond the quota wait for each other."
        return Finding(
            "warning", "cores", f"{cores}, of which the quota of this job or container gives {quota:g}", way_out
        )
    return Finding("ok", "cores", str(cores))


def judge_memory(available_mb: int, limit_mb: int | None) -> Finding:
    usable = available_mb if limit_mb is None else min(available_mb, limit_mb)
    limit = f" (the limit of this job or container is {memory(limit_mb * MIB)})" if limit_mb is not None else ""
    found = f"{memory(usable * MIB)} available{limit}"
    if usable < LEAST_MEMORY_MB:
        return Finding(
            "warning", "memory", found, "A rank takes about 1 GiB before it has read a row: start fewer ranks."
        )
    return Finding("ok", "memory", found)


def judge_shm(total_mb: int | None) -> Finding:
    if total_mb is None:
        return Finding(
            "warning", "/dev/shm", "is not there", "Ranks on one host then share memory through files in /tmp."
        )
    if total_mb < LEAST_SHM_MB:
        way_out = "Ranks on one host share memory there: docker run --shm-size=1g (or ipc: host)."
        return Finding("warning", "/dev/shm", memory(total_mb * MIB), way_out)
    return Finding("ok", "/dev/shm", memory(total_mb * MIB))


def judge_name(name: str, address: str | None) -> Finding:
    if address is None:
        way_out = f"Add a line to /etc/hosts: <address of this host> {name}"
        return Finding("error", "host name", f"{name} has no address", way_out)
    if address.startswith("127."):
        way_out = (
            "Right for one machine alone. On several, the others must find this one: give the name its own address."
        )
        return Finding("warning", "host name", f"{name} is {address}", way_out)
    return Finding("ok", "host name", f"{name} is {address}")


def judge_interfaces(names: Sequence[str]) -> Finding:
    traps = [name for name in names if TRAPS.match(name)]
    found = ", ".join(names) or "none"
    if traps:
        excluded = ",".join(["lo", *traps])
        way_out = (
            f"{', '.join(traps)}: other hosts have the same, and ranks on several hosts may wait there for ever. Add "
            f"--mca btl_tcp_if_exclude {excluded} --mca oob_tcp_if_exclude {excluded} to mpirun, or "
            "--network-interfaces NAME to horovodrun."
        )
        return Finding("warning", "interfaces", found, way_out)
    return Finding("ok", "interfaces", found)


def judge_trial(code: int | None, output: str, limit_s: float) -> Finding:
    """`code` is None when the trial did not end in time."""
    about = "trial"
    if code == 0 and "the sum is 3" in output:
        return Finding("ok", about, "two ranks under mpirun added 1 and 2 to 3")
    lines = [line.strip() for line in output.splitlines() if line.strip(" -\n")]
    told = "\n         ".join(["", *lines[-8:]])
    if code is None:
        way_out = "Look at the interfaces above, and at a firewall between this host and itself."
        return Finding(
            "error", about, f"two ranks under mpirun did not add 1 and 2 within {limit_s:g} s{told}", way_out
        )
    return Finding("error", about, f"two ranks under mpirun did not add 1 and 2 (exit code {code}){told}", SETUP)
