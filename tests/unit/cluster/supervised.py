"""A world without processes for the supervisor: time passes only where it waits, and ranks follow a script."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hvd_train.cluster.supervise.supervisor import Options, Supervisor
from hvd_train.cluster.supervise.surroundings import Answer
from hvd_train.cluster.supervise.task import Task
from hvd_train.runs import RunDir, job_history

OK = Answer(0, "")


@dataclass
class Script:
    """What the ranks of one start do."""

    code: int = 0
    after_s: float = 100.0
    checkpoint: tuple[int, int] | None = None
    """Written at their end."""
    done: bool = False
    saves: tuple[int, int] | None = None
    """What a warning has them save, a second later."""
    ignores: tuple[int, ...] = ()
    """Signals that they ignore."""
    begins: bool = True
    """Whether a rank is ever seen."""
    launcher_lingers: bool = False
    """Whether the launcher stays when the ranks have ended."""
    said: str = ""
    named: frozenset[str] = frozenset()
    oom: bool = False


class FakeRanks:
    def __init__(self, world: FakeWorld, script: Script, run_dir: RunDir, *, local_ranks: bool) -> None:
        self.world, self.script, self.run_dir, self.local_ranks = world, script, run_dir, local_ranks
        self.signals: list[int] = []
        self.killed = False
        self.ends_at, self.code = world.t + script.after_s, script.code
        self._ended = False

    def poll(self) -> int | None:
        if self.killed:
            return 137
        if self.world.t < self.ends_at:
            return None
        if not self._ended:
            self._ended = True
            if self.script.checkpoint:
                write_checkpoint(self.run_dir, self.script.checkpoint)
            if self.script.done:
                self.run_dir.done.write_text("")
            self.world.ooms += self.script.oom
        return None if self.script.launcher_lingers else self.code

    def signal(self, number: int) -> None:
        self.signals.append(number)
        if number in self.script.ignores:
            return
        if number == signal.SIGUSR1:
            self.script.checkpoint = self.script.saves
            self.ends_at, self.code = self.world.t + 1.0, 85 if self.script.saves else 138
        elif number == signal.SIGTERM:
            self.ends_at, self.code = self.world.t + 1.0, 143

    def kill(self) -> None:
        self.killed = True

    def seen(self) -> bool | None:
        if not self.local_ranks:
            return None
        return self.script.begins and self.world.t < self.ends_at

    @property
    def said(self) -> str:
        return self.script.said

    @property
    def named(self) -> frozenset[str]:
        return self.script.named


@dataclass
class FakeWorld:
    run_dir: RunDir
    scripts: list[Script]
    t: float = 1000.0
    ooms: int = 0
    signals: dict[float, int] = field(default_factory=dict)
    """By their time after the beginning."""
    silent: dict[int, set[str]] = field(default_factory=dict)
    """By the number of the start that comes: hosts that do not answer before it."""
    answers: dict[str, Answer] = field(default_factory=dict)
    """To commands, by their first word."""
    commands: list[list[str]] = field(default_factory=list)
    launched: list[list[str]] = field(default_factory=list)
    asked: list[Mapping[str, Sequence[str]]] = field(default_factory=list)
    """What the hosts were asked, each time."""
    started: list[FakeRanks] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._began = self.t

    def now(self) -> float:
        return self.t

    def wait(self, seconds: float) -> Sequence[int]:
        until = self.t + max(seconds, 0.001)
        due = min((at for at in self.signals if self._began + at <= until), default=math.inf)
        if due < math.inf:
            self.t = max(self.t, self._began + due)
            return [self.signals.pop(due)]
        self.t = until
        assert self.t - self._began < 1e6, "it waits for ever"
        return ()

    def start(self, command: Sequence[str], environment: Mapping[str, str], *, local_ranks: bool) -> FakeRanks:
        assert self.scripts, "one start too many"
        self.launched.append(list(command))
        self.started.append(FakeRanks(self, self.scripts.pop(0), self.run_dir, local_ranks=local_ranks))
        return self.started[-1]

    def ask(self, commands: Mapping[str, Sequence[str]], limit_s: float) -> Mapping[str, Answer]:
        self.asked.append(commands)
        silent = self.silent.get(len(self.launched) + 1, set())
        return {host: Answer(255, "no route to host") if host in silent else OK for host in commands}

    def run(self, command: Sequence[str], limit_s: float) -> Answer:
        self.commands.append(list(command))
        return self.answers.get(command[0], Answer(None, "not found"))

    def oom_kills(self) -> int | None:
        return self.ooms


def write_checkpoint(run_dir: RunDir, position: tuple[int, int]) -> None:
    run_dir.last.parent.mkdir(parents=True, exist_ok=True)
    note = {"progress": {"epoch": position[0], "step": position[1]}}
    with run_dir.last.open("wb") as file:
        np.savez(file, note=np.frombuffer(json.dumps(note).encode(), dtype=np.uint8))


@dataclass
class Outcome:
    code: int
    told: list[str]
    world: FakeWorld
    events: tuple[job_history.Event, ...]

    @property
    def ends(self) -> list[tuple[str, str]]:
        return [(event.outcome, event.next) for event in self.events if isinstance(event, job_history.End)]

    @property
    def ranks(self) -> list[int]:
        return [event.ranks for event in self.events if isinstance(event, job_history.Start)]


def supervise(tmp_path: Path, *scripts: Script, world: dict | None = None, **given) -> Outcome:  # type: ignore[no-untyped-def, type-arg]
    """Supervise a run whose starts follow `scripts`. `given`: allocation, options, shards, keeps_size, follow_up."""
    run_dir = RunDir(tmp_path / "run")
    run_dir.path.mkdir(exist_ok=True)
    fake = FakeWorld(run_dir, list(scripts), **(world or {}))
    told: list[str] = []
    task = Task(
        run_dir=run_dir,
        flags=("--recipe", "debug"),
        num_virtual_shards=lambda _: given.get("shards", 64),
        keeps_size=given.get("keeps_size", False),
    )
    supervisor = Supervisor(
        task,
        given["allocation"],
        given.get("options", Options()),
        fake,
        environment={"PATH": "/bin"},
        tell=told.append,
        follow_up=given.get("follow_up"),
    )
    code = supervisor.run()
    return Outcome(code, told, fake, job_history.read(run_dir.job.history))
