"""What `hvd-train bench` runs, in which order, and what it writes: bench.json and pictures.

Whatever is compared takes turns: in every repeat each of the settings runs once.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hvd_train.bench import figures
from hvd_train.bench.hosts.measure import measure_hosts
from hvd_train.bench.rank_program import Solo, Spec
from hvd_train.config import RunConfig, toml
from hvd_train.distributed import assign_cores, cpu_name, read_machine
from hvd_train.processes import jobs

# Beside its measuring a job starts TensorFlow and compiles; on a shared machine that can take a minute.
START_LIMIT_S = 240.0
ROUND_FACTOR = 12.0
MESSAGE_BYTES = tuple(4 * 4**n for n in range(4, 13))  # 1 KiB to 64 MiB
DEFAULT_LOCAL_BATCH = 256

Told = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """What is measured, and how long."""

    config: RunConfig
    sizes: tuple[int, ...]
    seconds: float
    num_repeats: int
    hostfile: Path | None = None
    sizes_given: bool = False
    """Whether the user named the sizes."""


def default_sizes() -> tuple[int, ...]:
    """1, 2, 4 ... up to this machine's cores, two at least."""
    num_cores = max(2, len(read_machine().units()))
    return tuple(2**n for n in range(int(math.log2(num_cores)) + 1))


def with_batch(config: RunConfig) -> RunConfig:
    """The config with a batch on each rank, if it names none."""
    training = config.training
    if training.global_batch_size is None and training.local_batch_size is None:
        return config.replace(training={"local_batch_size": DEFAULT_LOCAL_BATCH})
    return config


def for_size(config: RunConfig, size: int, *, strong: int | None = None) -> RunConfig:
    """The config at `size` ranks. Weak: each rank keeps its batch. `strong`: that global batch whatever the size."""
    if strong is not None:
        return config.replace(training={"global_batch_size": strong, "local_batch_size": None})
    return config


class Session:
    """Runs jobs one after the other; `told` hears of each."""

    def __init__(self, settings: BenchSettings, told: Told) -> None:
        self.settings, self.told = settings, told
        self.scratch = tempfile.TemporaryDirectory(prefix="hvd_train-bench-")

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.scratch.cleanup()

    def ranks(
        self,
        size: int,
        config: RunConfig,
        *,
        parts: bool = False,
        num_rounds: int = 1,
        env: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """A job on `size` ranks (1: one process with the cores that a rank of the largest job has): its answers."""
        if size == 1:
            return self.independent(1, config, parts=parts, num_rounds=num_rounds, env=env)
        return self._job(size, config, parts=parts, num_rounds=num_rounds, env=env)

    def independent(
        self,
        num_processes: int,
        config: RunConfig,
        *,
        parts: bool = False,
        num_rounds: int = 1,
        env: dict[str, str] | None = None,
        all_cores: bool = False,
    ) -> dict[str, Any]:
        """So many single-rank processes side by side, each on the cores that a rank would have: the ceiling."""
        machine = read_machine()
        # One process stands for a rank of the largest job.
        of = num_processes if num_processes > 1 else max(self.settings.sizes)
        assigned = [machine.cpus if all_cores else assign_cores(machine, n, of).cpus for n in range(num_processes)]
        solos = [Solo(n, num_processes, cores) for n, cores in enumerate(assigned)]
        return self._job(num_processes, config, parts=parts, num_rounds=num_rounds, env=env, solos=solos)

    def _job(
        self,
        size: int,
        config: RunConfig,
        *,
        parts: bool,
        num_rounds: int,
        env: dict[str, str] | None = None,
        solos: list[Solo] | None = None,
    ) -> dict[str, Any]:
        folder = Path(tempfile.mkdtemp(dir=self.scratch.name))

        def command(solo: Solo | None) -> list[str]:
            spec = Spec(
                config=toml.dumps(config),
                out=str(folder / f"answer-{solo.index if solo else 0}"),
                seconds=self.settings.seconds,
                num_rounds=num_rounds,
                parts=parts,
                started=time.monotonic(),
                solo=solo,
                gate=str(folder),
            )
            program = [sys.executable, "-m", "hvd_train.bench.rank_program", spec.dumps()]
            return program if solo else jobs.mpirun(size, program, hostfile=self.settings.hostfile)

        commands = [command(solo) for solo in solos] if solos else [command(None)]
        limit_s = START_LIMIT_S + ROUND_FACTOR * self.settings.seconds * num_rounds * (3 if parts else 1)
        jobs.run(commands, limit_s=limit_s, env=env)
        answers = [json.loads((folder / f"answer-{n}").read_text()) for n in range(len(commands))]
        return {"ranks": [rank for answer in answers for rank in answer["ranks"]], "settings": answers[0]["settings"]}

    def throughput(self, size: int) -> dict[str, Any]:
        """Rates, step times and where the time goes, at this number of ranks."""
        self.told(f"throughput of {size} rank{'s' if size > 1 else ''}")
        return self.throughput_of(size, self.settings.config)

    def throughput_of(self, size: int, config: RunConfig) -> dict[str, Any]:
        """The same of another config."""
        job = self.ranks(size, config, parts=True, num_rounds=self.settings.num_repeats)
        found = figures.throughput(job["ranks"])
        return found | {"start": figures.start_up(job["ranks"]), "settings": job["settings"]}

    def efficiency(self, size: int) -> dict[str, Any]:
        """Ranks against as many independent processes, interleaved."""
        together, apart = [], []
        for repeat in range(self.settings.num_repeats):
            self.told(f"{size} ranks against {size} independent processes, {repeat + 1} of {self.settings.num_repeats}")
            kinds: list[Callable[[], None]] = [
                lambda: together.append(figures.samples_per_s(self.ranks(size, self.settings.config)["ranks"])),
                lambda: apart.append(
                    figures.samples_per_s_apart(self.independent(size, self.settings.config)["ranks"])
                ),
            ]
            for kind in kinds if repeat % 2 == 0 else reversed(kinds):
                kind()
        ratios = [a / b for a, b in zip(together, apart, strict=True)]
        return {
            "size": size,
            "efficiency": figures.spread(ratios),
            "samples_per_s": figures.spread(together),
            "samples_per_s_independent": figures.spread(apart),
        }

    def scaling(self) -> list[dict[str, Any]]:
        """Samples a second over the sizes, weak (fixed local batch) and strong (fixed global batch), interleaved."""
        config, sizes = self.settings.config, self.settings.sizes
        local = config.training.local_batch_size
        strong = config.training.global_batch_size or (local or DEFAULT_LOCAL_BATCH) * max(sizes)
        weak = config.replace(training={"local_batch_size": local or strong // max(sizes), "global_batch_size": None})
        cases = {(kind, size): for_size(weak, size, strong=strong if kind == "strong" else None)
                 for size in sizes for kind in ("weak", "strong")}  # fmt: skip
        rates: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
        for repeat in range(self.settings.num_repeats):
            for (kind, size), case in cases.items():
                self.told(f"{kind} scaling at {size}, {repeat + 1} of {self.settings.num_repeats}")
                rates[kind, size].append(figures.samples_per_s(self.ranks(size, case)["ranks"]))
        return [{"kind": kind, "size": size, "samples_per_s": figures.spread(values)}
                for (kind, size), values in rates.items()]  # fmt: skip

    def allreduce(self, size: int) -> dict[str, Any]:
        """Bandwidth by message size, and the memory's with all ranks at once."""
        self.told(f"allreduce by message size on {size} ranks")
        answers: dict[str, dict[str, Any]] = {}
        for way in ("horovod", "mpi"):
            out = Path(tempfile.mkdtemp(dir=self.scratch.name)) / "answer"
            spec = {"way": way, "sizes": MESSAGE_BYTES, "seconds": min(0.3, self.settings.seconds), "out": str(out)}
            program = [sys.executable, "-m", "hvd_train.bench.bandwidth", json.dumps(spec)]
            jobs.run([jobs.mpirun(size, program, hostfile=self.settings.hostfile)], limit_s=START_LIMIT_S)
            answers[way] = json.loads(out.read_text())
        lines = []
        for number, length in enumerate(MESSAGE_BYTES):
            line: dict[str, float] = {"bytes": length}
            for way, answer in answers.items():
                line[way] = answer["seconds"][number]
                line[f"{way}_bus_bytes_per_s"] = figures.bus_bandwidth(length, line[way], size)
            lines.append(line)
        return {"size": size, "sizes": lines, "memory_bytes_per_s": answers["mpi"]["memory_bytes_per_s"]}


def bench(
    settings: BenchSettings,
    measures: Iterable[str],
    told: Told,
    *,
    keep: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Run what is asked for; returns all that bench.json holds. `keep` gets what is known after each measurement."""
    result: dict[str, Any] = {"about": about(settings)}
    several = [size for size in settings.sizes if size > 1]
    with Session(settings, told) as session:
        ways: dict[str, Callable[[], Any]] = {
            "throughput": lambda: [session.throughput(size) for size in settings.sizes],
            "efficiency": lambda: [session.efficiency(size) for size in several],
            "scaling": session.scaling,
            "allreduce": lambda: [session.allreduce(size) for size in several],
            "hosts": lambda: measure_hosts(session),
        }
        for name, measure in ways.items():
            if name in measures:
                result[name] = measure()
                keep(result)
    return result


def about(settings: BenchSettings) -> dict[str, Any]:
    """Date, machine, versions, config: what a figure means nothing without."""
    from hvd_train.runs import git_state, versions

    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine_line(),
        "load_before": os.getloadavg()[0],
        "versions": versions(),
        "git": git_state(),
        "seconds": settings.seconds,
        "repeats": settings.num_repeats,
        "config": asdict(settings.config),
    }


def machine_line() -> str:
    """CPU, cores and kernel in a line."""
    return f"{len(read_machine().units())} cores, {cpu_name()}, {platform.system()} {platform.release()}"
