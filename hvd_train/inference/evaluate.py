"""A finished run on rows: exact metrics over all ranks, at any number of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hvd_train.config import RunConfig, Split, SplitConfig, TableConfig, toml
from hvd_train.data import Dataset, ShowProgress, own_shards, prepare
from hvd_train.distributed import World
from hvd_train.errors import DataError
from hvd_train.evaluation import Evaluation, LabelledRows, MetricSet, evaluate_rows, metric_set
from hvd_train.inference.export import Trained, load_trained
from hvd_train.inference.own_blocks import own_blocks
from hvd_train.models import forward_pass
from hvd_train.runs import RunDir, user_code


def evaluate_run(
    run_dir: RunDir,
    world: World,
    data: Path | None,
    *,
    split: Split,
    overrides: Mapping[str, Any] | None = None,
    own_metrics: Sequence[str] | None = None,
    progress: ShowProgress | None = None,
) -> dict[str, Any]:
    """Score the run's best model on `data`, or on a split of the run's own data. All ranks.

    `progress` gets the bytes of a table that this rank has read, and all of them.

    `overrides` are the fields of `TableFormat` in which the table is not written as the run's own was, `own_metrics`
    references to metrics of a user's own, by default those of the run.
    """
    trained = world.together(lambda: load_trained(run_dir))
    assert trained is not None
    metrics = world.together(lambda: metrics_of_run(run_dir, trained, own_metrics))
    assert metrics is not None
    if data is not None and not data.is_dir():
        return evaluate_table(trained, world, data, metrics, overrides=overrides or {}, progress=progress)
    if overrides:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in overrides)
        raise DataError(
            f"{data or run_dir.path}: {flags} has no effect here, because no table is read: the rows are those of a "
            "dataset that was converted before. Leave it out, or give a table by --data."
        )
    if data is None:
        config = world.together(lambda: toml.load(run_dir.config))
        assert config is not None
        data = directory_of(config.table, config.split, world)
    return evaluate_split(trained, world, data, split, metrics).to_json()


def metrics_of_run(run_dir: RunDir, trained: Trained, own_metrics: Sequence[str] | None = None) -> MetricSet:
    """What the run reported, or with these metrics of a user's own. Every rank for itself; ConfigError."""
    monitor = None
    if own_metrics is None:
        # A model that was copied without its config has none.
        config = toml.load(run_dir.config) if run_dir.config.is_file() else RunConfig()
        own_metrics, monitor = config.evaluation.metrics, config.training.monitor
        user_code.use_kept(own_metrics, run_dir, as_trained=True)
    return metric_set(own_metrics, trained.output_spec, trained.train_labels, monitor=monitor)


def directory_of(table: TableConfig, split: SplitConfig, world: World) -> Path:
    """The dataset directory of a run's data, converted by one rank a host if need be. All ranks."""
    world.together(lambda: prepare(table, split), on="local root")
    directory = world.together(lambda: prepare(table, split))
    assert directory is not None
    return directory


@dataclass
class _LabelledBlocks:
    """This rank's blocks of a table, ready to be scored; what was found out on the way is kept."""

    trained: Trained
    world: World
    path: Path
    overrides: Mapping[str, Any]
    progress: ShowProgress | None = None
    notes: list[str] = field(default_factory=list)
    num_unlabelled: int = 0

    def __iter__(self) -> Iterator[LabelledRows]:
        blocks = own_blocks(
            self.path,
            self.trained,
            self.world,
            self.overrides,
            with_labels=True,
            on_message=self.notes.append,
            progress=self.progress,
        )
        for index, (features, labels, num_unlabelled) in blocks:
            self.num_unlabelled += num_unlabelled
            if labels is None:
                name = self.trained.schema.label_name
                raise DataError(
                    f"{self.path}: it has no column {name!r} to compare with. `hvd-train predict` needs none."
                )
            yield LabelledRows(features, labels, index, np.zeros(1, np.int64))


def evaluate_table(
    trained: Trained,
    world: World,
    path: Path,
    metrics: MetricSet,
    *,
    overrides: Mapping[str, Any],
    progress: ShowProgress | None = None,
) -> dict[str, Any]:
    """Metrics and baselines over every row of a table, once. All ranks."""
    blocks = _LabelledBlocks(trained, world, path, overrides, progress)
    result = evaluate_rows(world, forward_pass(trained.model), metrics, trained.train_labels, blocks)
    if not result.num_rows:
        raise DataError(f"{path}: there is no row with a label to score.")
    num_unlabelled = world.allreduce_sum(np.array([float(blocks.num_unlabelled)]))
    return result.to_json() | {"remarks": blocks.notes, "rows_without_label": int(num_unlabelled[0])}


def evaluate_split(trained: Trained, world: World, directory: Path, split: Split, metrics: MetricSet) -> Evaluation:
    """Metrics and baselines over one split of a dataset directory. All ranks."""
    dataset = world.together(lambda: Dataset.open(directory))
    assert dataset is not None
    require_same_columns(dataset, trained)
    V = dataset.num_virtual_shards
    if V % world.size:
        raise DataError(
            f"{directory}: {world.size} ranks cannot share its {V} virtual shards equally; use a number of ranks that divides {V}."
        )
    shards = own_shards(world.rank, world.size, V)
    rows = world.together(lambda: dataset.load(split, shards))
    assert rows is not None
    world.watch.phase(f"the scoring of the {split} split", waits_for_others=False)
    return evaluate_rows(
        world,
        forward_pass(trained.model),
        metrics,
        trained.train_labels,
        [LabelledRows.of_shards(rows, shards)],
        num_groups=V,
        optimum=dataset.optimum(split),
    )


def require_same_columns(dataset: Dataset, trained: Trained) -> None:
    """Raise DataError unless the dataset has the features and labels that the run was trained on."""
    # Runs of version 0.1 kept the spaces around the names of classes.
    own, known = ([str(v).strip() for v in s.label_values] for s in (dataset.schema, trained.schema))
    same = all(
        getattr(dataset.schema, name) == getattr(trained.schema, name) for name in ("feature_names", "text_columns")
    )
    if not same or own != known:
        raise DataError(f"{dataset.directory}: its columns or labels are not those the run was trained on.")
