"""Schedulers for tests: the commands of Slurm, PBS, Grid Engine and LSF as one small program that acts by its name.

    cluster = FakeCluster(tmp_path / "cluster", "slurm")
    monkeypatch.setenv("PATH", cluster.search_path)
    cluster.misbehave("sbatch", refuse="sbatch: error: Batch job submission failed: Invalid account")
    cluster.misbehave("squeue", seconds=60, times=1)
    cluster.misbehave("qsub", say="Good morning")
    cluster.calls("sbatch")[0].arguments

It keeps a list of jobs, prints what the real commands print, and starts nothing. A test that wants a job to run starts
its script with `environment(job_id)`, and tells the pid, which then receives the signals of scancel, qsig and bkill.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fake_commands import Call, state

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "slurm": ("sbatch", "squeue", "scancel", "scontrol"),
    "pbs": ("qsub", "qstat", "qdel", "qsig", "pbsnodes"),
    "sge": ("qsub", "qstat", "qdel", "qconf"),
    "lsf": ("bsub", "bjobs", "bkill", "brequeue"),
}


class FakeCluster:
    """One scheduler, in a folder. Its commands are in `path`, and all of its memory is in the folder."""

    def __init__(self, folder: Path, scheduler: str) -> None:
        self.folder, self.scheduler, self.path = folder, scheduler, folder / "bin"
        self.path.mkdir(parents=True, exist_ok=True)
        for name in COMMANDS[scheduler]:
            lines = [f"#!{sys.executable} -S", "import sys", f"sys.path.insert(0, {str(Path(__file__).parent)!r})"]
            lines += ["from fake_commands import act", f"act({str(folder)!r}, {scheduler!r}, {name!r})"]
            program = self.path / name
            program.write_text("\n".join(lines) + "\n")
            program.chmod(0o755)

    @property
    def search_path(self) -> str:
        """A PATH with the commands first."""
        return f"{self.path}:{os.environ['PATH']}"

    def calls(self, name: str = "") -> list[Call]:
        """The calls of one command, or of all, in their order."""
        file = self.folder / "calls.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        calls = [Call(**json.loads(line)) for line in lines]
        return [call for call in calls if not name or call.name == name]

    def misbehave(
        self,
        name: str,
        *,
        refuse: str = "",
        code: int = 1,
        say: str | None = None,
        seconds: float = 0,
        times: int = 10**9,
    ) -> None:
        """From now on the command prints `refuse` as an error and ends with `code`, or prints `say` instead of its
        answer, after so many seconds. It does so `times` times. `misbehave(name)` alone makes it good again."""
        with state(self.folder) as memory:
            memory["faults"][name] = {"refuse": refuse, "code": code, "say": say, "seconds": seconds, "times": times}

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        """Jobs and tasks of arrays (123_4) with state, reason, script, pid, restarts, limit_s, started."""
        with state(self.folder) as memory:
            return dict(memory["jobs"])

    def set(self, job_id: str, **values: Any) -> None:
        """Change a job: state ("pending", "running", "ending", "gone"), reason, pid, limit_s."""
        with state(self.folder) as memory:
            memory["jobs"][job_id].update(values)
            if values.get("state") == "running":
                memory["jobs"][job_id]["started"] = time.time()

    def environment(self, job_id: str, hosts: Mapping[str, int] | None = None) -> dict[str, str]:
        """The variables that the scheduler sets in a job, which is then running."""
        hosts = hosts or {"localhost": 2}
        self.set(job_id, state="running")
        number, _, task = job_id.partition("_")
        hostfile = self.folder / f"hosts.{job_id}"
        slots = [host for host, count in hosts.items() for _ in range(count)]
        restarts = self.jobs[job_id]["restarts"]
        if self.scheduler == "slurm":
            found = {"SLURM_JOB_ID": number, "SLURM_JOB_NODELIST": ",".join(hosts)}
            found |= {
                "SLURM_TASKS_PER_NODE": ",".join(map(str, hosts.values())),
                "SLURM_JOB_NUM_NODES": str(len(hosts)),
            }
            found |= {"SLURM_RESTART_COUNT": str(restarts)} if restarts else {}
            return found | ({"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": task} if task else {})
        if self.scheduler == "pbs":
            hostfile.write_text("".join(f"{host}\n" for host in slots))
            found = {"PBS_JOBID": f"{number}[{task}].head" if task else f"{number}.head", "PBS_NODEFILE": str(hostfile)}
            return found | ({"PBS_ARRAY_INDEX": task} if task else {})
        if self.scheduler == "sge":
            hostfile.write_text("".join(f"{host} {count} all.q@{host} UNDEFINED\n" for host, count in hosts.items()))
            found = {"JOB_ID": number, "SGE_TASK_ID": task or "undefined", "PE_HOSTFILE": str(hostfile)}
            return found | {"NSLOTS": str(len(slots)), "RESTARTED": "1" if restarts else "0"}
        hostfile.write_text("".join(f"{host}\n" for host in slots))
        found = {"LSB_JOBID": number, "LSB_JOBINDEX": task or "0", "LSB_DJOB_HOSTFILE": str(hostfile)}
        return found | ({"LSB_RESTART": "Y"} if restarts else {})
