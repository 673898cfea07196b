"""Trains many small configurations, one process a core, and says what each scored. Shared by the programs of results.

A trial is a RunConfig and a number of members; each runs alone on one core (small nets on small tables gain nothing from
two ranks), through the same `train_and_evaluate` and `ensemble` as the command line. Needs no MPI.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from hvd_train.config import RunConfig
from hvd_train.distributed.devices import cpu_name


@dataclass(frozen=True)
class Trial:
    """What to train. `names` tell it from the others in a table."""

    names: tuple[str, ...]
    config: RunConfig
    members: int = 1


def run(trials: Sequence[Trial], *, jobs: int | None = None) -> list[dict[str, Any]]:
    """The report of each trial on its own split, with its `seconds`, in the order of the trials."""
    jobs = jobs or len(os.sched_getaffinity(0))
    cores = multiprocessing.get_context("spawn").SimpleQueue()
    for core in sorted(os.sched_getaffinity(0))[:jobs]:
        cores.put(core)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_own_core, initargs=(cores,)) as pool:
        found = []
        try:
            for done, result in enumerate(pool.map(_train, trials), start=1):
                found.append(result)
                test = ", ".join(f"{k} {v:.4f}" for k, v in result["metrics"]["test"].items())
                names = " ".join(result["names"])
                print(f"{done}/{len(trials)} {names}: {test} ({result['seconds']:.0f} s)", file=sys.stderr, flush=True)
        except BaseException:
            # The pool would wait for the trials that are running, which may take an hour.
            pool.shutdown(wait=False, cancel_futures=True)
            for child in psutil.Process().children():
                child.terminate()
            raise
    return found


def _own_core(cores: Any) -> None:
    os.sched_setaffinity(0, {cores.get()})
    from hvd_train.distributed.opening import open_world

    global _world
    _world = open_world(environment={})


def _train(trial: Trial) -> dict[str, Any]:
    import keras

    from hvd_train.runs.directory import RunDir
    from hvd_train.training.ensemble import join_runs, train_members

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        run_dir = RunDir(Path(scratch) / "run")
        members = train_members(trial.config, _world, run_dir, trial.members)
        singles = [json.loads(member.report.read_text()) for member in members]
        keras.backend.clear_session()
        join_runs(members, _world, run_dir)
        report = json.loads(run_dir.report.read_text())
        shown_by_keras = binary_accuracy(run_dir, trial.config)
    return report | {
        "binary_accuracy": shown_by_keras,
        "names": trial.names,
        "seconds": time.monotonic() - started,
        "member_metrics": [single["metrics"]["test"] for single in singles],
        "member_epochs": [single["best_epoch"] for single in singles],
    }


def binary_accuracy(run_dir: Any, config: RunConfig) -> float | None:
    """What Keras calls accuracy when one-hot labels meet binary_crossentropy: the share of the N x K outputs on the
    right side of 0.5, on the test rows. A model that predicts nothing has 1 - 1/K. None for models that say values."""
    from hvd_train.data import Dataset, prepare
    from hvd_train.evaluation import softmax
    from hvd_train.inference.export import load_trained

    trained = load_trained(run_dir)
    if not trained.output_spec.predicts_distribution:
        return None
    features, labels = Dataset.open(prepare(config.table, config.split)).features_and_labels("test")
    says_yes = softmax(np.asarray(trained.model(features))) > 0.5
    return float(np.mean(says_yes == np.eye(says_yes.shape[1], dtype=bool)[labels]))


def machine() -> dict[str, Any]:
    """What a result was measured on, without names."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu_name(),
        "python": platform.python_version(),
    }
