"""A run up to its first step, which is not taken: `hvd-train train --dry-run`. Nothing stays on disk.

Everything that a run checks before it trains is checked: flags, data, columns, batch sizes, the model, the checkpoint that it
goes on from, and the run directory. A table that was not converted before is converted into a temporary directory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from hvd_train.config import RunConfig
from hvd_train.data import Dataset, converted_before
from hvd_train.distributed import World
from hvd_train.errors import UserError
from hvd_train.events import Observer, Watch
from hvd_train.processes import memory_limit
from hvd_train.runs import RunDir, TrainingState, holder, in_use, not_writable
from hvd_train.text import file_size, memory
from hvd_train.training.experiment import Experiment
from hvd_train.training.facts import describe_run
from hvd_train.training.open_data import split_in_use
from hvd_train.training.rehearsal.memory import MemoryNeed, checkpoint_bytes, memory_need
from hvd_train.training.resume import starting_state
from hvd_train.training.run import advice_on_saving
from hvd_train.training.setup import set_up


def dry_run(
    config: RunConfig, world: World, run_dir: RunDir, *, resume: bool, observer: Observer, watch: Watch
) -> dict[str, str]:
    """What the run of `train_and_evaluate` with these arguments would be, a line for each fact by its name. All ranks.

    Raises:
        UserError: alike on every rank, for whatever such a run would refuse before its first step.
    """
    world.together(lambda: refuse_run_dir(run_dir, resume=resume), on="root")
    with readable_data(config, world, observer) as (readable, converts):
        experiment = set_up(readable, world, observer, watch)
        advice = world.together(lambda: advice_on_saving(experiment), on="root")
        if advice and world.is_root:
            observer.on_message(advice)
        state = starting_state(experiment, world, run_dir if resume else None)
        watch.phase("the estimate of memory", waits_for_others=True)
        placements = world.allgather(world.placement)
        own = memory_need(
            experiment,
            rank=world.rank,
            size=world.size,
            host=world.placement.host,
            at_start=psutil.Process().memory_info().rss,
        )
        needs = world.allgather(own)
        usable = dict(world.allgather((world.placement.host, usable_memory())))
        return {
            **describe_run(experiment, world, placements),
            "features": features_line(experiment.dataset),
            "shards": shards_line(experiment.dataset, world.size),
            "memory": memory_line(needs, usable),
            "would train": epochs_line(experiment, state, run_dir),
            "would write": files_line(experiment, run_dir, converts),
        }


def refuse_run_dir(run_dir: RunDir, *, resume: bool) -> None:
    """UserError where a run could not write to `run_dir`. It is not made. Root only."""
    if (other := holder(run_dir.path)) is not None:
        raise in_use(run_dir.path, other)
    if not resume:
        run_dir.refuse_if_used()
    nearest = next(path for path in (run_dir.path.absolute(), *run_dir.path.absolute().parents) if path.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        number = errno.EACCES if nearest.is_dir() else errno.ENOTDIR
        raise not_writable(run_dir.path, OSError(number, os.strerror(number)))


@contextlib.contextmanager
def readable_data(config: RunConfig, world: World, observer: Observer) -> Iterator[tuple[RunConfig, bool]]:
    """The config with which this host opens the data, and whether the run itself would convert a table. All ranks."""
    with contextlib.ExitStack() as stack:

        def cache_dir() -> Path | None:
            if converted_before(config.table, split_in_use(config, world)) is not None:
                return None
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hvd_train-dry-run-")))

        own = world.together(cache_dir, on="local root")
        converts = any(world.allgather(own is not None))
        if converts and world.is_root:
            observer.on_message("the table was not converted before: it is converted into a temporary directory")

        def all_have_read() -> None:
            if converts:
                world.allgather(0)  # what they read is removed now

        try:
            yield (config if own is None else config.replace(table={"cache_dir": own})), converts
        except UserError:  # alike on every rank
            all_have_read()
            raise
        all_have_read()


def usable_memory() -> int:
    """Bytes that are free on this host, as far as the limit of its job or container allows."""
    available = psutil.virtual_memory().available
    return min(available, memory_limit() or available)


def features_line(dataset: Dataset) -> str:
    """The number of columns, and the first of their names."""
    names = dataset.schema.feature_names
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{dataset.schema.num_features} columns: {shown}"


def shards_line(dataset: Dataset, size: int) -> str:
    """How the rows are assigned to the ranks."""
    own = dataset.shard_sizes("train").reshape(size, -1).sum(axis=1)
    rows = f"{own.min():,}" if own.min() == own.max() else f"{own.min():,} to {own.max():,}"
    num_shards = dataset.num_virtual_shards
    return f"{num_shards} virtual shards, {num_shards // size} on each rank, with {rows} train rows each"


def memory_line(needs: list[MemoryNeed], usable: dict[str, int]) -> str:
    """The rank that needs the most, and each host: what its ranks need, and what it has."""
    most = max(needs, key=lambda need: need.total)
    hosts = []
    for host, free in usable.items():
        ranks = [need for need in needs if need.host == host]
        still = sum(need.rows + need.steps for need in ranks)
        verdict = "" if still <= free else ", WHICH IS TOO LITTLE"
        hosts.append(f"{host}: {memory(still)} more for {len(ranks)} ranks, of {memory(free)} that are free{verdict}")
    return (
        f"about {memory(most.total)} for rank {most.rank}, the largest: {memory(most.at_start)} as it is now, "
        f"{memory(most.rows)} rows, {memory(most.steps)} steps; {'; '.join(hosts)}"
    )


def epochs_line(experiment: Experiment, state: TrainingState, run_dir: RunDir) -> str:
    """From where to where training would go."""
    last, steps = experiment.config.training.num_epochs, experiment.plan.num_steps
    begun = f"on from epoch {state.epoch}, step {state.step}, of {run_dir.path}, " if state.epoch or state.step else ""
    patience = experiment.config.training.early_stopping_patience
    early = f", or until {patience} epochs bring no better {experiment.monitor.title}" if patience else ""
    return f"{begun}to epoch {last} of {steps} steps each{early}"


def files_line(experiment: Experiment, run_dir: RunDir, converts: bool) -> str:
    """What would be written where, and about how much."""
    checkpoint, model = checkpoint_bytes(experiment), experiment.gradient_bytes
    files = [run_dir.config, run_dir.log, run_dir.metrics, run_dir.report, run_dir.page, run_dir.curve, run_dir.data]
    names = ", ".join(path.name for path in files)
    line = f"{run_dir.path}/: checkpoints/ ({file_size(2 * checkpoint)}), {run_dir.model.name} ({file_size(model)}), {names}"
    for tracker in experiment.config.training.trackers:
        line += f", the files of {tracker}"
    return line + ("; and the converted table in the cache" if converts else "")
