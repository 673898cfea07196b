"""Runs of the laboratory's user as batch jobs: submitted with `hvd-train submit`, or with a script of the test's own."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy
from lab import Lab
from pace import Pace
from waits import wait_until

# Four ranks that load TensorFlow on two cores, which others may use too.
SLOW_S = 300.0
EPOCHS = 6
TRAIN = ("train", "--recipe", "debug", "--num-songs", "1000", "--num-epochs", str(EPOCHS), "--metrics")
TRAIN = (*TRAIN, "pace_metric.py:pace", "--early-stopping-patience", "0")


@dataclass(frozen=True)
class Run:
    """A submitted run."""

    id: str
    path: Path
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else f"{self.log} does not exist"

    @property
    def done(self) -> bool:
        return (self.path / "DONE").exists()

    @property
    def num_epochs(self) -> int:
        """Epochs that are complete so far."""
        found = re.findall(r"^epoch +(\d+)/\d+ +train loss", self.text, re.MULTILINE)
        return max(map(int, found), default=0)

    @property
    def history(self) -> list[dict]:
        file = self.path / "job" / "history.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def report(self) -> dict:
        return json.loads((self.path / "report.json").read_text())

    def weights(self) -> dict[str, bytes]:
        """Every array of the last checkpoint, moments and random generators too; the note holds times."""
        with numpy.load(self.path / "checkpoints" / "last.npz") as arrays:
            return {name: arrays[name].tobytes() for name in arrays if name != "note"}

    def wait_for(self, condition, what: str, timeout_s: float = SLOW_S) -> None:  # type: ignore[no-untyped-def]
        wait_until(condition, f"{what} of {self.path.name}", timeout_s=timeout_s, log=self.log)

    def wait_for_text(self, text: str, timeout_s: float = SLOW_S) -> None:
        self.wait_for(lambda: text in self.text, repr(text), timeout_s)

    def wait_for_epochs(self, count: int = 1, timeout_s: float = SLOW_S) -> None:
        self.wait_for(lambda: self.num_epochs >= count, f"epoch {count}", timeout_s)


def pace(lab: Lab, seconds: float) -> None:
    """How long each validation takes from now on, on every host."""
    Pace(lab.home, seconds)


def submit(lab: Lab, scheduler: str, *options: str, train: tuple[str, ...] = TRAIN) -> Run:
    """`hvd-train submit`, as the user does it on head."""
    command = ["hvd-train", "submit", "--on", scheduler, *options, "--", *train]
    output = lab.on("head", *command, timeout_s=60).stdout
    found = re.search(r"submitted as job (\S+)\.\nrun +(\S+)\nlog +(\S+)\n", output)
    assert found, output
    return Run(found[1], lab.home / found[2], lab.home / found[3])


def script(lab: Lab, scheduler: str, *directives: str, lines: str, name: str = "job") -> Run:
    """A job script of the test's own. Its run directory is `name`, which the lines can use as $RUN."""
    command, mark = {"slurm": (["sbatch", "--parsable"], "#SBATCH "), "sge": (["qsub", "-terse"], "#$ ")}[scheduler]
    log = lab.home / f"{name}.log"
    output = [f"--output={log}"] if scheduler == "slurm" else ["-S /bin/bash -cwd -j y", f"-o {log}"]
    path = lab.on("head", "sh", "-c", "echo $PATH").stdout.strip()
    head = [
        "#!/bin/bash",
        *(mark + directive for directive in (*directives, *output)),
        f"export PATH={path}",
        f"RUN={name}",
    ]
    (lab.home / f"{name}.sh").write_text("\n".join([*head, lines, ""]))
    number = lab.on("head", *command, f"{name}.sh").stdout.split()[-1]
    return Run(number, lab.home / name, log)


def slurm_state(lab: Lab, job: str) -> str:
    """COMPLETED and the like; Slurm keeps jobs that have ended (MinJobAge)."""
    shown = lab.on("head", "scontrol", "show", "job", job).stdout
    return re.findall(r"JobState=(\w+)", shown)[-1]


def wait_for_slurm_state(lab: Lab, run: Run, *states: str, timeout_s: float = SLOW_S) -> None:
    run.wait_for(lambda: slurm_state(lab, run.id) in states, f"Slurm's {' or '.join(states)}", timeout_s)


def begin_now(lab: Lab, run: Run) -> None:
    """Slurm lets a job that was queued again wait for two minutes. An administrator can shorten that.

    Not to nothing: slurmd takes a start in the second in which it revoked the first one's credential for that one,
    and the job has FAILED ("Killing non-startable batch job: Job credential revoked").
    """
    wait_for_slurm_state(lab, run, "PENDING")
    time.sleep(2)
    deadline = time.monotonic() + 60
    while slurm_state(lab, run.id) == "PENDING":
        assert time.monotonic() < deadline, lab.on("head", "scontrol", "show", "job", run.id).stdout
        lab.on("head", "scontrol", "update", f"JobId={run.id}", "StartTime=now", root=True, ok=False)
        time.sleep(0.5)


def grid_engine_lists(lab: Lab, job: str) -> bool:
    """Whether Grid Engine still knows the job: waiting, running or ending."""
    return lab.on("head", "qstat", "-j", job, ok=False).returncode == 0
