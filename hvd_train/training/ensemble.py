"""Ensembles: several models that differ in their seed, and their average as one model.

Probabilities are averaged, each member at its own temperature. Models that predict values have their values averaged.
Lakshminarayanan et al. 2017, "Simple and scalable predictive uncertainty estimation using deep ensembles" (arXiv
1612.01474). All ranks train each member together. Only the root writes.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable
from typing import Any

import keras

from hvd_train.config import RunConfig, require, toml
from hvd_train.data import Dataset
from hvd_train.distributed import World
from hvd_train.errors import CheckpointError
from hvd_train.events import Observer, Watch
from hvd_train.files import write_text
from hvd_train.inference import Trained, decoded, directory_of, evaluate_split, load_trained, metrics_of_run, save_model
from hvd_train.runs import (
    EVALUATED_SPLITS,
    EnsembleReport,
    RunDir,
    lock_run_dir,
    times_of,
    user_code,
    versions,
    write_ensemble_report,
)
from hvd_train.training.run import train_and_evaluate
from hvd_train.training.run_report import use_of_rank

# Keeps the logarithm finite where every member predicts a probability of zero.
LEAST_PROBABILITY = 1e-12
HOW_TO_GO_ON = "Finished members are kept, and checkpoints: go on with the same command."


def train_members(
    config: RunConfig,
    world: World,
    run_dir: RunDir,
    num_members: int,
    *,
    observe: Callable[[RunDir], Observer] = lambda _: Observer(),
    watch: Watch | None = None,
) -> list[RunDir]:
    """Train `num_members` models with the seeds from that of the config on; returns their run directories. All ranks.

    Finished members are kept, and an interrupted one is resumed.

    Raises:
        UserError: another ensemble or run is in `run_dir`.
    """
    require(num_members >= 1, "members", num_members, "an ensemble has at least one member")
    with lock_run_dir(run_dir, world, new=False):
        world.together(lambda: refuse_if_other(run_dir, is_own=True), on="root")
        return _train_members(config, world, run_dir, num_members, observe=observe, watch=watch)


def refuse_if_other(run_dir: RunDir, *, is_own: bool) -> None:
    """UserError if `run_dir` holds a run, or the results of an ensemble that is not this one (`is_own`). Root only."""
    if run_dir.last.exists() or not is_own:
        run_dir.refuse_if_used()


def _train_members(
    config: RunConfig,
    world: World,
    run_dir: RunDir,
    num_members: int,
    *,
    observe: Callable[[RunDir], Observer],
    watch: Watch | None,
) -> list[RunDir]:
    members = []
    for index in range(num_members):
        training = dataclasses.replace(config.training, seed=config.training.seed + index)
        member = RunDir(run_dir.path / "members" / f"seed-{training.seed}")
        done, begun = world.broadcast((member.done.exists(), member.last.exists()))
        if not done:
            observer = observe(member)
            if world.is_root:
                observer.on_message(f"Member {index + 1} of {num_members}, seed {training.seed}")
            keras.backend.clear_session()
            chosen = dataclasses.replace(config, training=training)
            train_and_evaluate(chosen, world, member, resume=begun, callbacks=[observer], watch=watch)
        members.append(member)
    return members


def join_runs(runs: list[RunDir], world: World, run_dir: RunDir) -> dict[str, Any]:
    """Write the average of these finished runs to `run_dir`, and evaluate it on their data. All ranks.

    Returns the evaluation on the test split, as `hvd-train evaluate --json` prints it.

    Raises:
        UserError: the runs are not of one kind, or `run_dir` holds a run or another ensemble.
    """
    started = time.monotonic()
    is_own = all(run_dir.path in run.path.parents for run in runs)
    with lock_run_dir(run_dir, world, new=False):
        world.together(lambda: refuse_if_other(run_dir, is_own=is_own), on="root")
        return _join_runs(runs, world, run_dir, started)


def _join_runs(runs: list[RunDir], world: World, run_dir: RunDir, started: float) -> dict[str, Any]:
    joined = world.together(lambda: average([load_trained(run) for run in runs], runs), on="all")
    assert joined is not None
    config = world.together(lambda: toml.load(runs[0].config))
    assert config is not None
    directory = directory_of(config.table, config.split, world)
    dataset = world.together(lambda: Dataset.open(directory))
    assert dataset is not None

    def write() -> None:
        run_dir.create()
        whole = decoded(joined.model.input, joined.model.output, joined.output_spec, "ensemble")
        save_model(whole, joined.output_spec, dataset, run_dir)
        write_text(run_dir.config, toml.dumps(config))
        user_code.keep(config.evaluation.metrics, run_dir)

    world.together(write, on="root")
    metrics = world.together(lambda: metrics_of_run(runs[0], joined))
    assert metrics is not None
    scores = {split: evaluate_split(joined, world, directory, split, metrics) for split in EVALUATED_SPLITS}
    by_split: dict[str, Any] = {
        key: {split: getattr(scores[split], key) for split in EVALUATED_SPLITS}
        for key in ("metrics", "baselines", "optimum", "details")
    }
    seconds, ranks = time.monotonic() - started, world.allgather(use_of_rank(world))

    def write_results() -> None:
        report = EnsembleReport(
            members=[str(run.path) for run in runs],
            **by_split,
            verdict=scores["test"].verdict,
            data_checksum=dataset.checksum,
            rows={split: dataset.num_rows(split) for split in ("train", *EVALUATED_SPLITS)},
            versions=versions(),
            join_seconds=seconds,
            size=world.size,
            ranks=ranks,
            date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            **times_of(runs),
        )
        write_ensemble_report(report, run_dir)

    world.together(write_results, on="root")
    return scores["test"].to_json()


def average(members: list[Trained], runs: list[RunDir]) -> Trained:
    """The average of these as one model, or CheckpointError where they were trained on other columns or labels."""
    first = members[0]
    for member, run in zip(members, runs, strict=True):
        if (
            member.schema != first.schema
            or member.output_spec.predicts_distribution != first.output_spec.predicts_distribution
        ):
            raise CheckpointError(
                f"{run.path} cannot be averaged with {runs[0].path}: it was trained on other columns or labels, or predicts "
                f"values where the other predicts probabilities. Join runs on the same data with losses of one kind."
            )
    rows = keras.Input(first.model.input.shape[1:], name="rows")
    outputs_of = [keras.Model(m.model.input, m.model.output, name=f"member_{i}")(rows) for i, m in enumerate(members)]
    if first.output_spec.predicts_distribution:
        shares = [keras.layers.Activation("softmax", name=f"probabilities_{i}")(s) for i, s in enumerate(outputs_of)]
        outputs = keras.ops.log(_mean(shares) + LEAST_PROBABILITY)
    else:
        outputs = _mean(outputs_of)
    return dataclasses.replace(first, model=keras.Model(rows, outputs))


def _mean(tensors: list[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else keras.layers.Average(name="mean_of_members")(tensors)
