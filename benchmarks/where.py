"""Where a step's time goes: what the exchange between two ranks costs whom, and which operations a recipe's step is made of.

    python benchmarks/where.py --out benchmarks/results

Run it where nothing else runs. Three kinds of jobs, each in processes of its own: the CPU time of every thread of a rank
(Linux's schedstat), Horovod's timeline of the root, and TensorFlow's profile of one process on one core.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from records import check, header, run, save

from hvd_train.bench.rank_program import run_as_rank, stepper, train_batches
from hvd_train.config import RunConfig
from hvd_train.config.recipes import REFERENCE, recipe
from hvd_train.processes import jobs

NP = 2
STEPS = 960
WARM_UP_EXECUTIONS = 8
LIMIT_S = 300.0
# Recipes that train on the embedded songs, so that anyone can run this.
RECIPES = ("reference", "default", "synthetic-songs", "synthetic-songs-cnn")
PROFILED_EXECUTIONS = 4
MOST_OPERATIONS = 8


def threads() -> dict[int, tuple[str, int]]:
    """Name and nanoseconds on a core of every thread of this process."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            found[int(task.name)] = (
                (task / "comm").read_text().strip(),
                int((task / "schedstat").read_text().split()[0]),
            )
        except OSError:  # it has ended
            continue
    return found


def prepared(config: RunConfig, world: Any) -> tuple[Any, Any]:
    """What executes the steps, and how many steps an execution has. All ranks."""
    from hvd_train.events import Observer, Watch
    from hvd_train.training.setup import set_up

    experiment = set_up(config, world, Observer(), Watch())
    world.broadcast_variables(experiment.variables)
    execute = stepper(experiment.trained, train_batches(experiment, world))
    for _ in range(WARM_UP_EXECUTIONS):
        execute()
    return execute, int(experiment.trained.steps_per_execution)


def kind_of(tid: int, name: str, horovods: set[int]) -> str:
    if tid in horovods:
        return "Horovod and Open MPI"
    if tid == os.getpid():
        return "Python"
    return "computation" if name.startswith("tf_Compute") else "input and the rest"


def exchange(out: str) -> None:
    """Milliseconds a step of each kind of thread, by rank. All ranks; the root writes."""
    from hvd_train.distributed.opening import open_world

    world = open_world(REFERENCE.distributed)
    own_name = threads()[os.getpid()][0]
    # TensorFlow names its threads; what bears the process's own name by now is Horovod's and Open MPI's.
    horovods = {tid for tid, (name, _) in threads().items() if tid != os.getpid() and name == own_name}
    execute, steps = prepared(REFERENCE, world)
    world.allgather(0)
    before, began = threads(), time.perf_counter()
    for _ in range(STEPS // steps):
        execute()
    seconds, after = time.perf_counter() - began, threads()
    spent: dict[str, float] = collections.defaultdict(float)
    for tid, (name, ns) in after.items():
        spent[kind_of(tid, name, horovods)] += (ns - before.get(tid, (name, 0))[1]) / 1e6 / (STEPS // steps * steps)
    step = 1000 * seconds / (STEPS // steps * steps)
    answers = world.allgather({"step": step, **spent, "nobody": step - sum(spent.values())})
    if world.is_root:
        Path(out).write_text(json.dumps(answers))
    world.close()


def operations(name: str, out: str) -> None:
    """Share of a step's time by operation, alone on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from hvd_train.distributed.opening import open_world

    config = recipe(name).replace(table={"num_songs": 20_000}, training={"steps_per_execution": 8})
    world = open_world(config.distributed)
    execute, steps = prepared(config, world)

    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory(prefix="hvd_train-where-") as folder:
        with tf.profiler.experimental.Profile(folder):
            began = time.perf_counter()
            for _ in range(PROFILED_EXECUTIONS):
                execute()
            seconds = time.perf_counter() - began
        space = xplane_pb2.XSpace()
        (path,) = Path(folder).rglob("*.xplane.pb")
        space.ParseFromString(path.read_bytes())
    spent = by_operation(space)
    total = sum(spent.values())
    answer = {
        "step_ms": 1000 * seconds / (PROFILED_EXECUTIONS * steps),
        "shares": {op: ns / total for op, ns in collections.Counter(spent).most_common(MOST_OPERATIONS)},
    }
    Path(out).write_text(json.dumps(answer))


def by_operation(space: Any) -> dict[str, float]:
    """Nanoseconds of each type of operation: kernels' own events, named "node:type"."""
    spent: dict[str, float] = collections.defaultdict(float)
    for plane in space.planes:
        if plane.name != "/host:CPU":
            continue
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                node, _, kind = name.rpartition(":")
                if node and kind.isidentifier() and "#" not in name and "::" not in name:
                    spent[kind] += event.duration_ps / 1000
    return spent


def activities(path: Path) -> dict[str, float]:
    """Median milliseconds of Horovod's activities with the gradient whose allreduce lasts longest, from its timeline."""
    text = path.read_text().rstrip().rstrip(",")
    events = json.loads(text if text.endswith("]") else text + "]")
    gradients = {e["pid"] for e in events if e.get("args", {}).get("name", "").startswith("Distributed")}
    open_at: dict[int, list[tuple[str, float]]] = collections.defaultdict(list)
    found: dict[int, dict[str, list[float]]] = {pid: collections.defaultdict(list) for pid in gradients}
    for event in events:
        if event["pid"] not in gradients:
            continue
        if event["ph"] == "B":
            open_at[event["pid"]].append((event["name"], event["ts"]))
        elif event["ph"] == "E" and open_at[event["pid"]]:
            name, since = open_at[event["pid"]].pop()
            found[event["pid"]][name].append((event["ts"] - since) / 1000)
    # Not what happens once, such as making the buffer.
    medians = [
        {name: statistics.median(times) for name, times in own.items() if len(times) >= STEPS} for own in found.values()
    ]
    return max(medians, key=lambda of: of.get("ALLREDUCE", 0.0))


def rank_program(*arguments: str) -> list[str]:
    return [sys.executable, str(Path(__file__).resolve()), "--job", *arguments]


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="hvd_train-where-") as scratch:
        out, timeline = Path(scratch) / "out", Path(scratch) / "timeline.json"
        told("the threads of two ranks")
        jobs.run([jobs.mpirun(NP, rank_program("exchange", str(out)))], limit_s=LIMIT_S)
        by_rank = json.loads(out.read_text())
        told("Horovod's timeline")
        env = {"HOROVOD_TIMELINE": str(timeline)}
        jobs.run([jobs.mpirun(NP, rank_program("exchange", str(out)))], limit_s=LIMIT_S, env=env)
        found = activities(timeline)
        profiles = {}
        for name in RECIPES:
            told(f"the operations of {name}")
            jobs.run([rank_program("operations", name, str(out))], limit_s=LIMIT_S)
            profiles[name] = json.loads(out.read_text())
    return {
        **header(),
        "threads_ms_by_rank": by_rank,
        "timeline_ms": found,
        "operations": profiles,
    }


def told(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def job(argv: list[str]) -> None:
    {"exchange": exchange, "operations": operations}[argv[1]](*argv[2:])


def main() -> None:
    if sys.argv[1:2] == ["--job"]:
        run_as_rank(job)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="directory for the dated results")
    given = parser.parse_args()
    check(parser, out=given.out)
    result = measure()
    save(given.out, "where", result)


if __name__ == "__main__":
    main() if sys.argv[1:2] == ["--job"] else run(main)
