"""The doctor: says what is wrong with this machine for running `hvd-train` on several ranks, and what to do about it.

    diagnosis = diagnose()
    print(diagnosis.text); sys.exit(diagnosis.exit_code)

Everything that could hang or crash is asked in a process of its own with a limit, so TensorFlow is never imported here.
It looks at one machine; on a cluster run it on each. In a batch job it also asks the scheduler and the other hosts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
from dataclasses import dataclass

import psutil

from hvd_train.doctor import gpu_rules
from hvd_train.doctor import rules as rules
from hvd_train.doctor.job import examine_job
from hvd_train.doctor.probes import MPI4PY, TENSORFLOW_AND_HOROVOD, output_of, probe, try_two_ranks
from hvd_train.doctor.rules import Finding
from hvd_train.gpus import has_driver, read_inventory
from hvd_train.processes import cpu_quota, memory_limit


@dataclass(frozen=True)
class Diagnosis:
    """All findings. `exit_code` is 1 if there is an error among them; warnings leave it 0."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        return int(any(finding.level == "error" for finding in self.findings))

    @property
    def text(self) -> str:
        counts = {level: sum(f.level == level for f in self.findings) for level in ("error", "warning")}
        told = [f"{number} {level}{'s' * (number > 1)}" for level, number in counts.items() if number]
        return "\n".join([*map(str, self.findings), " and ".join(told) or "Nothing is wrong here."])


def diagnose(*, trial: bool = True) -> Diagnosis:
    """Look at everything, in up to a minute or two; with `trial` also start two ranks under mpirun. One process, not a rank."""
    mpirun = shutil.which("mpirun")
    version = output_of([mpirun, "--version"]) if mpirun else ""
    tensorflow, horovod = probe(TENSORFLOW_AND_HOROVOD, answers=2)
    (mpi4py,) = probe(MPI4PY)
    findings = [
        rules.judge_python(sys.version_info[:2], sys.executable),
        rules.judge_tensorflow(tensorflow),
        rules.judge_tensorflow_engine(tensorflow),
        rules.judge_horovod(horovod),
        rules.judge_mpirun(mpirun, version),
        rules.judge_library("Horovod", horovod, version),
        rules.judge_mpi4py(mpi4py),
        rules.judge_library("mpi4py", mpi4py, version),
        rules.judge_cores(len(os.sched_getaffinity(0)), cpu_quota()),
        rules.judge_memory(psutil.virtual_memory().available >> 20, _megabytes(memory_limit())),
        rules.judge_shm(_shm_mb()),
        rules.judge_name(socket.gethostname(), _address(socket.gethostname())),
        rules.judge_interfaces(_interfaces()),
    ]
    findings += gpu_rules.judge_gpus(
        read_inventory(),
        tensorflow,
        horovod,
        driver_is_loaded=has_driver(),
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
    )
    findings += examine_job(os.environ)
    if trial and mpirun and "error" not in mpi4py:
        findings.append(rules.judge_trial(*try_two_ranks(mpirun)))
    return Diagnosis(tuple(finding for finding in findings if finding is not None))


def _megabytes(size: int | None) -> int | None:
    return None if size is None else size >> 20


def _shm_mb() -> int | None:
    with contextlib.suppress(OSError):
        return shutil.disk_usage("/dev/shm").total >> 20
    return None


def _address(name: str) -> str | None:
    with contextlib.suppress(OSError):
        return socket.gethostbyname(name)
    return None


def _interfaces() -> list[str]:
    """Those that are up and have an IPv4 address, without loopback."""
    up = psutil.net_if_stats()
    return [
        name
        for name, addresses in psutil.net_if_addrs().items()
        if any(a.family == socket.AF_INET and not a.address.startswith("127.") for a in addresses)
        and name in up
        and up[name].isup
    ]
