"""What `hvd-train bench` and `hvd-train tune` do around their measuring: refuse, tell, write, and end in good order."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from hvd_train.cli.arguments import BenchArguments, TuneArguments
from hvd_train.config import RunConfig
from hvd_train.distributed import Placement
from hvd_train.errors import UserError
from hvd_train.files import write_json
from hvd_train.processes import STOP_SIGNALS, WARNING_SIGNALS, Stopped, stop_handler
from hvd_train.runs import lock_directory, named_after_job
from hvd_train.schedulers import detect_job

T = TypeVar("T")


# What was started is asked to end before it is killed; a second signal ends this process at once.
END_LIMIT_S = 20.0


def refuse_under_a_launcher(placement: Placement, verb: str) -> None:
    """UserError on a rank of many: these verbs start ranks of their own."""
    if placement.size > 1:
        raise UserError(
            f"hvd-train {verb} starts its own ranks: run it once, without {placement.launcher}, and say --np {placement.size}."
        )


def stoppable(action: Callable[[], T]) -> T:
    """`action`, during which a signal raises Stopped, so that what it has started is ended with it."""
    signals = (*STOP_SIGNALS, *WARNING_SIGNALS)
    with stop_handler(lambda: "stopped", grace_s=END_LIMIT_S, signals=signals) as stop:
        try:
            return action()
        except Stopped:
            stop.release()
            raise


def results_in(folder: Path) -> AbstractContextManager[None]:
    """The directory for results, made and locked while the block runs, or UserError."""
    return lock_directory(folder, what="The directory", flag="--out")


def bench(arguments: BenchArguments, placement: Placement, console: Console) -> int:
    """Measure, show tables, write bench.json and the pictures."""
    refuse_under_a_launcher(placement, "bench")
    require_positive(arguments.np, arguments.seconds, arguments.repeats)
    if arguments.run.training.precision == "auto":
        raise UserError(
            "--precision auto would be decided again by every job: give float32 or bfloat16 to hvd-train bench."
        )
    require_steps_alike(arguments.run, "bench")
    if arguments.hosts:
        from hvd_train.bench import require_hosts

        require_hosts(arguments.hostfile)
    with results_in(arguments.out):
        return _bench(arguments, console)


def _bench(arguments: BenchArguments, console: Console) -> int:
    from hvd_train.bench import BenchSettings, default_sizes, presentation, with_batch
    from hvd_train.bench import bench as measured

    settings = BenchSettings(
        config=with_batch(arguments.run),
        sizes=tuple(sorted(set(arguments.np or default_sizes()))),
        seconds=arguments.seconds,
        num_repeats=arguments.repeats,
        hostfile=arguments.hostfile,
        sizes_given=bool(arguments.np),
    )
    measures = ("hosts",) if arguments.hosts else arguments.measure
    path = arguments.out / "bench.json"
    known: list[str] = []

    def keep(result: dict[str, Any]) -> None:
        write_json(path, result)
        known[:] = [name for name in measures if name in result]

    try:
        result = stoppable(lambda: measured(settings, measures, console.print, keep=keep))
    except Stopped as stopped:
        written = f"{path} has what was measured: {', '.join(known)}" if known else "nothing was written"
        console.print(f"stopped by {stopped}; {written}.")
        return stopped.exit_code
    pictures = presentation.pictures(result, arguments.out)
    for table in presentation.tables(result):
        console.print(table)
    console.print(f"Written: {', '.join(map(str, [path, *pictures]))}")
    return 0


def tune(arguments: TuneArguments, placement: Placement, console: Console) -> int:
    """Search, show the table, write tuned.toml, tune.json and the picture; also of what is known when it is interrupted."""
    refuse_under_a_launcher(placement, "tune")
    require_positive(arguments.np, arguments.seconds, arguments.rungs)
    require_steps_alike(arguments.run, "tune")
    out = named_after_job(arguments.out, detect_job(os.environ), flag="--out")
    arguments = dataclasses.replace(arguments, out=out)
    with results_in(arguments.out):
        return _tune(arguments, console)


def _tune(arguments: TuneArguments, console: Console) -> int:
    from hvd_train.bench import default_sizes
    from hvd_train.tune import TuneSettings, Tuning, presentation

    settings = TuneSettings(
        config=arguments.run,
        sizes=tuple(sorted(set(arguments.np or default_sizes()))),
        dimensions=arguments.search,
        seconds=arguments.seconds,
        num_rungs=arguments.rungs,
        out=arguments.out,
        hostfile=arguments.hostfile,
    )
    tuning, code = Tuning(settings, console.print, os.environ), 0
    try:
        stoppable(tuning.run)
    except Stopped as stopped:
        code = stopped.exit_code
        console.print(f"stopped by {stopped}; what is known so far:")
    tuned = tuning.write_tuned()
    if tuned is None:
        console.print("Nothing is known: no trial came to its end.")
        return code or 1
    console.print(presentation.table(tuning.search))
    written = [tuned, arguments.out / "tune.json", presentation.picture(tuning.search, arguments.out / "tune.png")]
    console.print(f"Written: {', '.join(map(str, written))}")
    return code


def require_positive(sizes: tuple[int, ...], seconds: float, repeats: int) -> None:
    """UserError for numbers that mean nothing."""
    if any(size < 1 for size in sizes):
        raise UserError(f"--np {' '.join(map(str, sizes))} is not possible: a number of ranks is at least 1.")
    if not 0 < seconds < math.inf:
        raise UserError(f"--seconds {seconds:g} is not possible: a measurement takes some time, and comes to an end.")
    if repeats < 1:
        raise UserError(f"--repeats {repeats} is not possible: it is at least 1.")


def require_steps_alike(config: RunConfig, verb: str) -> None:
    """UserError where some steps exchange and others do not: a time by step then means nothing."""
    if config.distributed.local_steps > 1:
        raise UserError(
            f"--local-steps {config.distributed.local_steps} cannot be measured by hvd-train {verb}, which times single steps: "
            "leave it out. hvd-train train shows its samples a second, and bench --hosts predicts it."
        )
