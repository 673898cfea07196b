"""One measured rank: trains a recipe for some seconds and says how long its steps took. Started by session.py.

    mpirun -np 2 python -m hvd_train.bench.rank_program '{"config": "...", ...}'

With `parts`, three kinds of steps take turns: those of a real run, the same on one repeated batch (what is left out is
the input), and the same without the averaging over ranks (what is left out is the allreduce and the wait for others). Where
ranks share the optimizer's update out, each makes all of it without the others: its time is taken by itself as well.
Alone (`solo`), it is one of several independent processes, which start together through files in `gate`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

START_LIMIT_S = 120.0
GATE_POLL_S = 0.002
WARM_UP_S = 0.5
# Kinds of steps in which a rank waits for no other.
BY_ITSELF = ("no allreduce", "update")


@dataclass(frozen=True)
class Solo:
    """Which of so many independent processes, and its cores."""

    index: int
    of: int
    cores: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What one job measures; travels as JSON on the command line."""

    config: str
    """A RunConfig as TOML."""
    out: str
    """Where the root (alone: each process) writes its answer."""
    seconds: float = 2.0
    """Of each round."""
    num_rounds: int = 3
    parts: bool = True
    """Also measure steps without input and without averaging."""
    started: float = 0.0
    """When the job was started, by the monotonic clock."""
    solo: Solo | None = None
    gate: str = ""

    def dumps(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Spec:
        given = json.loads(text)
        solo = given.pop("solo")
        return cls(solo=Solo(solo["index"], solo["of"], tuple(solo["cores"])) if solo else None, **given)


def main(argv: list[str]) -> None:
    spec = Spec.loads(argv[0])
    marks = {"python": time.monotonic()}
    if spec.solo:
        os.sched_setaffinity(0, spec.solo.cores)
    from hvd_train.config import toml
    from hvd_train.distributed import open_world

    config = toml.loads(spec.config)
    world = open_world(config.distributed, lean=True)
    marks["horovod"] = time.monotonic()
    marks["tensorflow"] = marks["horovod"] - world.init_seconds
    if spec.solo:
        world.placement = replace(world.placement, rank=spec.solo.index, size=spec.solo.of)
    answer = measure(spec, config, world, marks)
    answers = [answer] if spec.solo else world.allgather(answer)
    if spec.solo or world.is_root:
        Path(spec.out).write_text(json.dumps({"ranks": answers, "settings": asdict(world.settings)}))
    world.close()


def measure(spec: Spec, config: Any, world: Any, marks: dict[str, float]) -> dict[str, Any]:
    """This rank's times. All ranks (alone: every process of the gate)."""
    import tensorflow as tf

    from hvd_train.distributed import SoloWorld
    from hvd_train.events import Observer, Watch
    from hvd_train.training import compile_experiment, open_dataset, resolve_defaults, resolve_precision

    dataset = open_dataset(config, world, Observer(), Watch())
    config, batches = resolve_defaults(config, dataset, world)
    config = resolve_precision(config, dataset, batches, world, Observer())
    marks["data"] = time.monotonic()
    experiment = compile_experiment(config, dataset, batches, world)
    world.broadcast_variables(experiment.variables)
    marks["model"] = time.monotonic()
    rows, steps = train_batches(experiment, world), int(experiment.trained.steps_per_execution)
    kinds: dict[str, Callable[[], float]] = {"train": stepper(experiment.trained, rows)}
    kinds["train"]()
    marks["first step"] = time.monotonic()
    if spec.parts:
        repeated = tf.data.Dataset.from_tensors(next(iter(rows))).repeat()
        kinds["one batch"] = stepper(experiment.trained, repeated)
        alone = compile_experiment(
            config.replace(distributed={"backward_passes_per_step": 1}, training={"steps_per_execution": steps}),
            dataset,
            batches,
            SoloWorld(world.placement, world.settings),
        )
        kinds["no allreduce"] = stepper(alone.trained, repeated)
        if shares_update(experiment.trained.optimizer):
            kinds["update"] = updater(alone.trained)

    def meet_ranks() -> None:
        world.allgather(0)

    times = rounds(spec, kinds, world, gate(spec) if spec.solo else meet_ranks)
    return {
        "rank": world.rank,
        "host": world.placement.host,
        "num_cores": len(os.sched_getaffinity(0)),
        "threads": world.settings.num_threads,
        "local_batch_size": batches.local_batch_size,
        "steps_per_execution": steps,
        "precision": config.training.precision,
        "gradient_bytes": experiment.gradient_bytes,
        "start": {name: at - spec.started for name, at in marks.items()},
        "kinds": times,
    }


def train_batches(experiment: Any, world: Any) -> Any:
    """The batches of a real run, epoch after epoch without end."""
    from hvd_train.data import own_shards
    from hvd_train.training import TrainRows, epochs_dataset

    shards = own_shards(world.rank, world.size, experiment.dataset.num_virtual_shards)
    rows = experiment.prepared(experiment.load("train", world))
    config, epoch = experiment.config, iter(range(10**9))
    train = TrainRows(
        experiment.dataset, config.sampling, rows, experiment.targets, seed=config.training.seed, epoch=lambda: 0
    )

    def order() -> Any:
        return experiment.plan.order(next(epoch), shards, rows.shard_starts, labels=rows.labels)

    return epochs_dataset(train, order, experiment.plan.num_steps).repeat()


def stepper(model: Any, batches: Any) -> Callable[[], float]:
    """A function that runs one execution of steps, as fit() does, and returns its seconds."""
    from hvd_train.training import steady_options

    model.make_train_function()
    iterator = iter(batches.with_options(steady_options()))

    # fit() reads the loss here, too: it waits for the steps.
    return timed(lambda: float(model.train_function(iterator)["loss"]))


def timed(action: Callable[[], object]) -> Callable[[], float]:
    """`action` as a function that returns its seconds."""

    def execute() -> float:
        began = time.perf_counter()
        action()
        return time.perf_counter() - began

    return execute


def shares_update(optimizer: Any) -> bool:
    """Whether the ranks shard the update of `optimizer`; known after the first step."""
    state = getattr(optimizer, "hvd_state", None)
    return state is not None and bool(state.shared)


def updater(model: Any) -> Callable[[], float]:
    """A function that updates the weights of `model` as often as an execution of steps does, and returns its seconds."""
    import tensorflow as tf

    variables = model.trainable_variables
    gradients = [tf.random.normal(v.shape, stddev=0.01, dtype=v.dtype) for v in variables]

    @tf.function  # type: ignore[untyped-decorator]
    def update() -> None:
        for _ in tf.range(int(model.steps_per_execution)):
            model.optimizer.apply(gradients, variables)

    return timed(update)


def rounds(
    spec: Spec, kinds: dict[str, Callable[[], float]], world: Any, meet: Callable[[], None]
) -> dict[str, list[dict[str, Any]]]:
    """The kinds interleaved, `num_rounds` times; every round starts on all ranks at once and has the same steps on each."""
    counts: dict[str, int] = {}
    for kind, execute in kinds.items():
        execute()
        timed: list[float] = []
        began = time.perf_counter()
        while time.perf_counter() - began < WARM_UP_S or len(timed) < 2:
            timed.append(execute())
            if kind not in BY_ITSELF and not spec.solo and world.size > 1:
                break  # ranks must take the same number: the first one's time decides below
        typical = sorted(timed)[len(timed) // 2]
        counts[kind] = max(2, world.broadcast(round(spec.seconds / typical)))
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for _ in range(spec.num_rounds):
        for kind, execute in kinds.items():
            meet()
            cpu, began = time.process_time(), time.perf_counter()
            executions = [execute() for _ in range(counts[kind])]
            seconds = time.perf_counter() - began
            found[kind].append({"seconds": seconds, "cpu_seconds": time.process_time() - cpu, "executions": executions})
    return found


def gate(spec: Spec) -> Callable[[], None]:
    """A barrier of independent processes on one host, by files."""
    assert spec.solo is not None
    solo, folder, turn = spec.solo, Path(spec.gate), iter(range(10**6))

    def meet() -> None:
        number = next(turn)
        (folder / f"{number}-{solo.index}").touch()
        deadline = time.monotonic() + START_LIMIT_S
        while not all((folder / f"{number}-{other}").exists() for other in range(solo.of)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {solo.index} waited {START_LIMIT_S:.0f} s for {solo.of - 1} others")
            time.sleep(GATE_POLL_S)

    return meet


def run_as_rank(action: Callable[[list[str]], None]) -> None:
    """The program of a rank. An error is one line and ends all ranks."""
    from hvd_train.processes import leave

    try:
        action(sys.argv[1:])
    except Exception as error:
        sys.stderr.write(f"error: {type(error).__name__}: {error}\n")
        sys.stderr.flush()
        leave(getattr(error, "exit_code", 1))


if __name__ == "__main__":
    run_as_rank(main)
