"""One rank of a job between hosts: how long its steps take with and without the exchange, and what its host sends. Started by job.py.

    mpirun -np 2 python benchmarks/wire/rank.py '{"config": "...", "rates": ["1000"], ...}'

At each rate of the links steps of a real run take turns with the same steps that exchange nothing. The root writes a line of JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from wire import rates

ANSWER = "measured between hosts: "
WARM_UP_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What one job measures; travels as JSON on the command line."""

    config: str
    """A RunConfig as TOML."""
    rates: list[str]
    """Of the links, in Mbit/s, one after the other. Empty where they have one that nobody changes."""
    folder: str = ""
    """Where to ask for a rate."""
    interface: str | None = None
    seconds: float = 1.0
    """Of each rate in each round; of the steps without exchange half of it."""
    rounds: int = 2

    def dumps(self) -> str:
        return json.dumps(asdict(self))


def main(argv: list[str]) -> None:
    spec = Spec(**json.loads(argv[0]))
    from hvd_train.config import toml
    from hvd_train.distributed import open_world

    config = toml.loads(spec.config)
    world = open_world(config.distributed)
    check(config, world)
    answers = world.allgather(measure(spec, config, world))
    if world.is_root:
        settings = world.settings.describe().replace(sys.prefix, "$VIRTUAL_ENV")  # results are for other machines, too
        print(ANSWER + json.dumps({"ranks": answers, "settings": settings}), flush=True)
    world.close()


def check(config: Any, world: Any) -> None:
    """End where this Horovod would measure something else than what the row is called. All ranks."""
    from hvd_train.errors import MissingEnvironment
    from hvd_train.keras.optimizers.shared_update import has_two_levels

    if config.distributed.allreduce == "two-levels" and not has_two_levels():
        raise MissingEnvironment(f"{'; '.join(world.settings.notes)}. Run `make setup`, then measure again.")


def measure(spec: Spec, config: Any, world: Any) -> dict[str, Any]:
    """This rank's times by rate. All ranks."""
    import numpy as np

    from hvd_train.bench.rank_program import stepper, train_batches
    from hvd_train.distributed import SoloWorld
    from hvd_train.events import Observer, Watch
    from hvd_train.training import compile_experiment, open_dataset, resolve_defaults

    dataset = open_dataset(config, world, Observer(), Watch())
    config, batches = resolve_defaults(config, dataset, world)
    experiment = compile_experiment(config, dataset, batches, world)
    world.broadcast_variables(experiment.variables)
    steps = int(experiment.trained.steps_per_execution)
    exchange = stepper(experiment.trained, train_batches(experiment, world))
    plain = config.replace(distributed={"backward_passes_per_step": 1}, training={"steps_per_execution": steps})
    alone = compile_experiment(plain, dataset, batches, SoloWorld(world.placement, world.settings))
    without = stepper(alone.trained, train_batches(alone, world))
    timer = Timer(spec, world, steps)
    exchange()
    timer.count(without, spec.seconds / 2, "alone")
    found: dict[str, list[dict[str, float]]] = {}
    turn = 0
    for _ in range(spec.rounds):
        for rate in spec.rates or [""]:
            turn += 1
            if rate and world.is_root:
                rates.ask(spec.folder, rate, turn)
            world.allgather(0)
            timer.count(exchange, spec.seconds, rate)
            step = timer.run(exchange, rate)
            found.setdefault(rate, []).append(step | {"alone_ms": timer.run(without, "alone")["step_ms"]})
    return {
        "host": world.placement.host,
        "local_rank": world.placement.local_rank,
        "local_batch_size": batches.local_batch_size,
        "gradient_bytes": sum(4 * int(np.prod(v.shape)) for v in experiment.trained.trainable_variables),
        "steps_per_execution": steps,
        "rates": found,
    }


class Timer:
    """Runs as many executions on all ranks as the root needs for its seconds."""

    def __init__(self, spec: Spec, world: Any, steps: int) -> None:
        self._spec, self._world, self._steps = spec, world, steps
        self._counts: dict[str, int] = {}

    def count(self, execute: Any, seconds: float, name: str) -> None:
        """Warm up, and decide on the number of executions, once for each name. All ranks."""
        execute()
        if name not in self._counts:
            typical = execute()
            times = [execute() for _ in range(self._world.broadcast(min(16, int(WARM_UP_S / typical))))]
            typical = statistics.median([typical, *times])
            self._counts[name] = max(1, self._world.broadcast(round(seconds / typical)))

    def run(self, execute: Any, name: str) -> dict[str, float]:
        self._world.allgather(0)
        cpu, before = time.process_time(), rates.sent_bytes(self._spec.interface)
        began = time.perf_counter()
        for _ in range(self._counts[name]):
            execute()
        seconds = time.perf_counter() - began
        cpu = time.process_time() - cpu
        self._world.allgather(0)
        sent = rates.most_sent(before, rates.sent_bytes(self._spec.interface))
        number = self._counts[name] * self._steps
        return {"step_ms": 1000 * seconds / number, "cpu_ms": 1000 * cpu / number, "sent_bytes": sent / number}


if __name__ == "__main__":
    from hvd_train.bench.rank_program import run_as_rank

    run_as_rank(main)
