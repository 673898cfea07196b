"""What a run was made of, in words: one line each for the terminal, the log and the report."""

from __future__ import annotations

import datetime
import time
from collections import Counter
from dataclasses import asdict

import numpy as np

from hvd_train.config import SPLITS, Split
from hvd_train.distributed import Placement, Settings, World
from hvd_train.evaluation import Evaluation, published_results
from hvd_train.optimizers import scaled_learning_rate
from hvd_train.runs import Report, git_state, versions
from hvd_train.training.loop import Loop
from hvd_train.training.setup import Parts


def facts(parts: Parts, world: World, placements: list[Placement]) -> dict[str, str]:
    """What was found, one line each, for the terminal, the log and the report. Pure."""
    hosts = Counter(placement.host for placement in placements)
    dataset, batches, chosen = parts.dataset, parts.batches, world.settings
    schema = dataset.schema
    rows = ", ".join(f"{dataset.num_rows(split):,} {split}" for split in ("train", "val", "test"))
    v = versions()
    tensorflow = v.get("tensorflow-cpu") or v.get("tensorflow", "?")
    horovod = f"Horovod {v['horovod']}, " if world.size > 1 and "horovod" in v else ""
    batch = f"{batches.global_batch_size} rows a step ({batches.local_batch_size} on each rank), {parts.plan.num_steps} steps an epoch"
    if batches.follows_size:
        batch += "; the local batch was given, so the number of ranks changes the experiment"
    scaled = scaled_learning_rate(parts.config.optimizer, batches.global_batch_size)
    found = {
        "ranks": f"{world.size} on {', '.join(f'{host} ({n})' for host, n in hosts.items())}",
        "cores": cores_line(chosen, world.gpu),
        "settings": chosen.describe(),
        "versions": f"{horovod}TensorFlow {tensorflow}, Keras {v.get('keras', '?')}, Python {v['python']}, hvd_train {v['hvd_train']}",
        "data": f"{parts.config.table.path or 'embedded synthetic songs'}: {rows}",
        "label": f"{schema.label_name} ({schema.label_kind}"
        + (f", {schema.num_outputs} outputs)" if schema.label_values else ")"),
        "model": f"{parts.config.model.name}, {parts.model.count_params():,} weights, {_input(parts)}, {parts.config.training.precision}",
        "loss": parts.objective.loss
        + (f", {parts.config.objective.targets} targets" if parts.config.objective.targets != "one-hot" else ""),
        "batch": batch,
        "rate": f"{scaled:.3g} after {parts.config.optimizer.warmup_epochs:g} epochs of warm-up ({parts.config.optimizer.optimizer})",
    }
    statistics = dataset.statistics
    odd = []
    if statistics.constant.any():
        odd.append(f"{int(statistics.constant.sum())} constant columns count for nothing")
    if statistics.num_missing.any():
        cells = int(statistics.num_missing.sum())
        odd.append(f"{cells:,} missing cells of the train split are taken as their column's mean")
    return found | ({"columns": "; ".join(odd)} if odd else {})


def cores_line(chosen: Settings, gpu: str | None) -> str:
    """How much of the machine each rank has, and whether that is less than it needs. Pure."""
    threads = "TensorFlow's own choice of threads" if chosen.num_threads is None else f"{chosen.num_threads} a rank"
    over = " (oversubscribed: more ranks than cores)" if chosen.oversubscribed else ""
    quota = f", of {chosen.quota:g} that the cgroup allows" if chosen.quota is not None else ""
    return threads + over + quota + (f"; GPU {gpu} for the root" if gpu else "")


def _input(parts: Parts) -> str:
    """How the columns are given to the network, in words."""
    model, layout = parts.config.model, parts.dataset.schema.layout
    shape = {"covariance": "12 x 13", "projection": model.projection.replace("x", " x ")}
    arranged = "" if model.arrangement == "columns" else f" by {model.arrangement}"
    transform = "" if model.transform == "standard" else f", {model.transform}"
    transform += ", whitened" if model.whiten else ""
    return f"input {shape.get(model.arrangement, f'{layout[0]} x {layout[1]}')}{arranged}{transform}"


def report_of(
    parts: Parts,
    world: World,
    loop: Loop,
    found: dict[str, str],
    scores: dict[Split, Evaluation],
    temperature: float,
    *,
    started: float,
) -> Report:
    """Put together from a run's parts. All ranks (gathers the hosts' names)."""
    progress, first = loop.progress, loop.first_steps_at
    rates = [row["samples_per_s"] for row in progress.history]
    chosen = world.settings
    return Report(
        found=found,
        config=asdict(parts.config),
        settings={
            "cores_of_root": chosen.cores,
            "threads_per_rank": chosen.num_threads,
            "set": chosen.variables,
            "kept_from_user": chosen.kept,
            "oversubscribed": chosen.oversubscribed,
            "switched_off": chosen.switched_off,
            "cpu_quota": chosen.quota,
            "gpu_of_root": world.gpu,
        },
        metrics={split: score.metrics for split, score in scores.items()},
        baselines={split: score.baselines for split, score in scores.items()},
        optimum={split: score.optimum for split, score in scores.items()},
        details={split: score.details for split, score in scores.items()},
        temperature=temperature,
        verdict=scores["test"].verdict,
        published=published_results.rmse_of_others(
            parts.config.table.path,
            {split: parts.dataset.num_rows(split) for split in SPLITS},
            parts.dataset.schema.num_features,
            parts.dataset.schema.label_kind,
        ),
        epochs=progress.epoch,
        best_epoch=progress.best_epoch,
        stopped_early=progress.stopped_early,
        train_seconds=progress.seconds,
        wall_seconds=time.monotonic() - started,
        import_seconds=world.import_seconds,
        first_steps_seconds=first - started if first else None,
        samples_per_s=float(np.median(rates)) if rates else float("nan"),
        history=progress.history,
        data_checksum=parts.dataset.checksum,
        rows={split: parts.dataset.num_rows(split) for split in SPLITS},
        versions=versions(),
        hosts=dict(Counter(world.allgather(world.placement.host))),
        size=world.size,
        seed=parts.config.training.seed,
        git=git_state(),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
