"""One rank of a trial: trains a recipe until the validation loss comes to a target or the time is up. Started by search.py.

    mpirun -np 2 python -m hvd_train.tune.rank_program '{"config": "...", "target": 3.4, "seconds": 10, "out": "FILE"}'

The clock runs while steps are taken; tracing the graph and looking at the validation loss are not counted.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from hvd_train.bench import run_as_rank, stepper, train_batches

# How often the loss is looked at: so many times in the longest a trial may take.
NUM_LOOKS = 12


def main(argv: list[str]) -> None:
    spec: dict[str, Any] = json.loads(argv[0])
    from hvd_train.config import toml
    from hvd_train.distributed import open_world

    config = toml.loads(spec["config"])
    world = open_world(config.distributed, lean=True)
    answer = trained(config, world, target=spec["target"], seconds=spec["seconds"])
    if world.is_root:
        Path(spec["out"]).write_text(json.dumps(answer))
    world.close()


def trained(config: Any, world: Any, *, target: float | None, seconds: float) -> dict[str, Any]:
    """The curve and the rate. All ranks; the root's clock decides for all."""
    from hvd_train.events import Observer, Watch
    from hvd_train.training import set_up

    experiment = set_up(config, world, Observer(), Watch())
    batches = experiment.batch_sizes
    world.broadcast_variables(experiment.variables)
    execute = stepper(experiment.trained, train_batches(experiment, world))
    validation = experiment.prepared(experiment.load("val", world))
    infer = experiment.infer(experiment.trained)

    def look() -> float:
        return experiment.validate(world, infer, validation)["loss"]

    look()
    execute()  # traces and compiles
    typical = max(world.broadcast(min(execute() for _ in range(2))), 1e-6)
    chunk = max(1, round(seconds / NUM_LOOKS / typical))
    clock = 3 * typical  # the steps that were taken so far count as what they cost once compiled
    steps_per_execution = int(experiment.trained.steps_per_execution)
    curve: list[tuple[float, float]] = []
    done, training_s = 0, 0.0
    while True:
        world.allgather(0)  # all begin at once
        began = time.perf_counter()
        for _ in range(chunk):
            execute()
        took = time.perf_counter() - began
        training_s, done, clock = training_s + took, done + chunk, clock + took
        loss = look()
        curve.append((clock, loss if math.isfinite(loss) else float("inf")))
        reached = target is not None and loss <= target
        if world.broadcast(reached or clock >= seconds or not math.isfinite(loss)):
            break
    rate = done * steps_per_execution * batches.global_batch_size / training_s
    return {"curve": curve, "samples_per_s": rate, "global_batch_size": batches.global_batch_size}


if __name__ == "__main__":
    run_as_rank(main)
