"""Puts the report of a complete run together."""

from __future__ import annotations

import datetime
import os
import resource
import time
from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np

from hvd_train.config import SPLITS, Split
from hvd_train.distributed import World
from hvd_train.evaluation import Evaluation, published_results
from hvd_train.runs import Report, RunDir, git_state, job_history, job_state, versions
from hvd_train.training.experiment import Experiment
from hvd_train.training.loop import TrainingLoop


def make_report(
    experiment: Experiment,
    world: World,
    loop: TrainingLoop,
    facts: dict[str, str],
    evaluations: dict[Split, Evaluation],
    temperature: float,
    *,
    began: float,
    started: float,
    run_dir: RunDir,
    notes: list[str],
) -> Report:
    """The report of a run whose last session began at `started` by the monotonic clock. All ranks; the root's `notes` count.

    `began`: when the run itself did, without the time between its sessions.
    """
    dataset, schema = experiment.dataset, experiment.dataset.schema
    rows: dict[str, int] = {split: dataset.num_rows(split) for split in SPLITS}
    return Report(
        facts=facts,
        config=asdict(experiment.config),
        settings=settings_in_use(world),
        metrics={split: evaluation.metrics for split, evaluation in evaluations.items()},
        baselines={split: evaluation.baselines for split, evaluation in evaluations.items()},
        optimum={split: evaluation.optimum for split, evaluation in evaluations.items()},
        details={split: evaluation.details for split, evaluation in evaluations.items()},
        temperature=temperature,
        verdict=evaluations["test"].verdict,
        published=published_results.rmse_of_others(
            experiment.config.table.path, rows, schema.num_features, schema.label_kind
        ),
        **of_training(loop, started),
        wall_seconds=time.monotonic() - began,
        import_seconds=world.import_seconds,
        data_checksum=dataset.checksum,
        rows=rows,
        versions=versions(),
        hosts=dict(Counter(world.allgather(world.placement.host))),
        size=world.size,
        seed=experiment.config.training.seed,
        git=git_state(),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        job=world.broadcast(job_state(os.environ)),
        notes=world.broadcast(notes),
        ranks=world.allgather(use_of_rank(world)),
        steps=loop.num_steps * loop.state.epoch,
        gradient_bytes=experiment.gradient_bytes if world.size > 1 else 0,
        starts=world.broadcast(job_history.story(job_history.read(run_dir.job.history)) if world.is_root else []),
    )


def use_of_rank(world: World) -> dict[str, Any]:
    """Memory and time that this process has used, as `Report.ranks` has them. This rank alone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "rank": world.rank,
        "host": world.placement.host,
        "peak_memory_bytes": used.ru_maxrss * 1024,
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),
    }


def of_training(loop: TrainingLoop, started: float) -> dict[str, Any]:
    """The fields of a Report about epochs, times and rates. Pure."""
    state, first = loop.state, loop.first_steps_at
    rates = [row["samples_per_s"] for row in state.history]
    return {
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "stopped_early": state.stopped_early,
        "sessions": state.sessions,
        "train_seconds": state.seconds,
        "first_steps_seconds": first - started if first else None,
        "samples_per_s": float(np.median(rates)) if rates else float("nan"),
        "history": state.history,
    }


def settings_in_use(world: World) -> dict[str, Any]:
    """The settings of this rank, as report.json has them. Pure."""
    settings = world.settings
    return {
        "cores_of_root": settings.cores,
        "threads_per_rank": settings.num_threads,
        "set": settings.variables,
        "kept_from_user": settings.kept,
        "oversubscribed": settings.oversubscribed,
        "switched_off": settings.switched_off,
        "cpu_quota": settings.quota,
        "cpus_of_job": settings.granted,
        "gpu_of_root": world.gpu,
    }
