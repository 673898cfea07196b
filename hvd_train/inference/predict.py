"""A finished run on new rows: exact metrics at any number of ranks, and a line of prediction for every row.

Rows come in chunks; chunk i is rank i % size's. Shape letters: N rows, K outputs.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hvd_train.config import DataConfig, Split, toml
from hvd_train.data import Dataset, NewRows, own_shards, prepare, read_table_for_prediction
from hvd_train.distributed import World
from hvd_train.errors import DataError
from hvd_train.evaluation import Details, Labels, best_possible, class_metrics, evaluate_in_detail, inference, metrics
from hvd_train.files import write_atomically
from hvd_train.inference.export import Trained, load_trained
from hvd_train.runs import RunDir
from hvd_train.text import without_formulas

# The two ends of the 90 % interval.
LOW, HIGH = 0.05, 0.95


def evaluate_run(
    run_dir: RunDir, world: World, data: Path | None, *, split: Split, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Score the run's best model on `data`, or on a split of the run's own data. All ranks.

    `given` is how a table is read where it is not as the run's own was: fields of `TableFormat`.
    """
    trained = world.together(lambda: load_trained(run_dir))
    assert trained is not None
    if data is not None and not data.is_dir():
        return evaluate_table(trained, world, data, given=given)
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise DataError(
            f"{data or run_dir.path}: {flags} can say nothing here, since no table is read: the rows are those of a dataset "
            "that was converted before. Leave it out, or give a table by --data."
        )
    if data is None:
        config = world.together(lambda: toml.load(run_dir.config))
        assert config is not None
        data = directory_of(config.data, world)
    return evaluate_split(trained, world, data, split)


def directory_of(config: DataConfig, world: World) -> Path:
    """The dataset directory of a run's data, converted by one rank a host if need be. All ranks."""
    world.together(lambda: prepare(config), on="local root")
    directory = world.together(lambda: prepare(config))
    assert directory is not None
    return directory


def own_chunks(
    path: Path,
    trained: Trained,
    world: World,
    given: Mapping[str, Any],
    *,
    with_labels: bool,
    report: Callable[[str], None],
) -> Iterator[NewRows]:
    """This rank's share of the table's chunks; `report` gets what is to be known about how it is read.

    Tells the watch where it is.
    """
    rows = read_table_for_prediction(
        path, trained.schema, trained.table_format, given=given, with_labels=with_labels, report=report
    )
    for index, chunk in enumerate(rows):
        world.watch.phase(f"block {index + 1} of the table", waits_for_others=False)
        if index % world.size == world.rank:
            yield chunk
    world.watch.phase("the exchange of the results", waits_for_others=True)


def evaluate_table(trained: Trained, world: World, path: Path, *, given: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics and baselines over every row of a table, once. All ranks."""
    infer = inference(trained.model)
    remarks: list[str] = []

    def own() -> tuple[np.ndarray, np.ndarray, Details, int]:
        sums, targets = [np.zeros(len(metrics.COLUMNS))], []
        details, num_unlabelled = Details(trained.labels), 0
        chunks = own_chunks(path, trained, world, given, with_labels=True, report=remarks.append)
        for features, labels, left_out in chunks:
            num_unlabelled += left_out
            if labels is None:
                raise DataError(
                    f"{path}: it has no column {trained.schema.label_name!r} to compare with. `hvd-train predict` needs none."
                )
            outputs = infer(features)
            terms = metrics.row_sums(trained.labels, outputs, labels)
            sums.append(terms.sum(axis=0))
            details.add(outputs, labels, terms)
            targets.append(labels)
        return np.sum(sums, axis=0), np.concatenate(targets) if targets else np.zeros(0), details, num_unlabelled

    result = world.together(own)
    assert result is not None
    own_total, targets, details, num_unlabelled = result
    total = world.allreduce_sum(own_total)
    if not total[0]:
        raise DataError(f"{path}: there is no row with a label to score.")
    described = details.result(world, trained.train_counts, trained.schema.label_values)
    return figures(trained, world, total, targets, described) | {
        "remarks": remarks,
        "rows_without_label": int(world.allreduce_sum(np.array([float(num_unlabelled)]))[0]),
    }


def evaluate_split(trained: Trained, world: World, directory: Path, split: Split) -> dict[str, Any]:
    """Metrics and baselines over one split of a dataset directory. All ranks."""
    dataset = world.together(lambda: Dataset.open(directory))
    assert dataset is not None
    if (
        dataset.schema.feature_names != trained.schema.feature_names
        # Runs of version 0.1 kept the spaces around the names of classes.
        or [str(v).strip() for v in dataset.schema.label_values]
        != [str(v).strip() for v in trained.schema.label_values]
    ):
        raise DataError(f"{directory}: its columns or labels are not those the run was trained on.")
    V = dataset.num_virtual_shards
    if V % world.size:
        raise DataError(
            f"{directory}: {world.size} ranks cannot share its {V} virtual shards equally; use a number of ranks that divides {V}."
        )
    rows = world.together(lambda: dataset.load(split, own_shards(world.rank, world.size, V)))
    assert rows is not None
    world.watch.phase(f"the scoring of the {split} split", waits_for_others=False)
    infer = inference(trained.model)
    sums, details = evaluate_in_detail(
        world,
        infer,
        trained.labels,
        rows,
        V,
        train_counts=trained.train_counts,
        names=trained.schema.label_values,
    )
    return figures(trained, world, sums, rows.labels, details) | {"optimum": best_possible(dataset, split)}


def figures(
    trained: Trained, world: World, sums: np.ndarray, own_targets: np.ndarray, details: dict[str, Any]
) -> dict[str, Any]:
    """The result of an evaluation from all ranks' sums and details, and this rank's true labels. All ranks."""
    labels = trained.labels
    if labels.kind == "values":
        own = metrics.value_baseline(labels, trained.label_mean, trained.label_median, trained.label_std, own_targets)
        baseline = metrics.from_sums("values", world.allreduce_sum(own))
    else:
        counts = np.bincount(own_targets.astype(np.int64), minlength=len(labels.values)).astype(np.float64)
        baseline = trained.baseline.metrics(labels, world.allreduce_sum(counts))
    of_classes, baseline_of_classes = class_metrics.figures(details)
    found = metrics.from_sums(labels.kind, sums) | of_classes
    baseline |= baseline_of_classes
    return {
        "rows": int(np.atleast_2d(sums)[:, 0].sum()),
        "metrics": found,
        "baselines": baseline,
        "optimum": {},
        "details": details,
        "verdict": metrics.verdict(found, baseline),
    }


def predict_table(
    trained: Trained,
    world: World,
    path: Path,
    out: Path,
    *,
    given: Mapping[str, Any],
    quote_formulas: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> int:
    """Write a line for every row of the table, in its order; returns the number of rows. All ranks; the root writes.

    `quote_formulas`: a class whose name a spreadsheet would run gets an apostrophe before it.
    """
    infer = inference(trained.model)
    label_values = trained.schema.label_values
    if quote_formulas:
        label_values = without_formulas(label_values)

    def own() -> list[list[tuple[Any, ...]]]:
        chunks = own_chunks(path, trained, world, given, with_labels=False, report=report)
        return [predictions(trained.labels, label_values, infer(chunk.features)) for chunk in chunks]

    by_rank = world.allgather(world.together(own))
    num_rounds = max(len(chunks or []) for chunks in by_rank)
    in_order = [chunks[r] for r in range(num_rounds) for chunks in by_rank if chunks and r < len(chunks)]

    def write() -> int:
        text = _Lines()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns(trained.labels))
        for chunk in in_order:
            writer.writerows(chunk)
        write_atomically(out, lambda file: file.writelines(text.lines))
        return sum(map(len, in_order))

    return world.together(write, on="root") or 0


class _Lines:
    """A text file for csv.writer that keeps encoded lines."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, text: str) -> None:
        self.lines.append(text.encode())


def columns(labels: Labels) -> tuple[str, ...]:
    """The header of the predictions of this kind of label."""
    if labels.point == "gaussian":
        return ("predicted", "deviation")
    if labels.point:
        return ("predicted",)
    if labels.kind == "classes":
        return ("most_likely", "probability")
    return ("expected", "median", "most_likely", "probability", "low_90", "high_90")


def predictions(labels: Labels, label_values: tuple[int | str, ...], outputs_NK: np.ndarray) -> list[tuple[Any, ...]]:
    """A tuple for each row, in the order of `columns`. Pure."""
    if labels.point:
        return [tuple(f"{value:.7g}" for value in row) for row in outputs_NK]
    probabilities = metrics.softmax(outputs_NK)
    likeliest = probabilities.argmax(axis=1)
    top = probabilities[np.arange(len(probabilities)), likeliest]
    if labels.kind == "classes":
        return [(label_values[k], f"{p:.6f}") for k, p in zip(likeliest, top, strict=True)]
    expected = probabilities @ labels.values
    cumulative = probabilities.cumsum(axis=1)
    # The first label at which the distribution has passed each end; a rounding may keep the last sum below 1.
    low, high = ((cumulative >= end * cumulative[:, -1:]).argmax(axis=1) for end in (LOW, HIGH))
    middle = metrics.medians(probabilities)
    return [
        (f"{e:.3f}", label_values[m], label_values[k], f"{p:.6f}", label_values[a], label_values[b])
        for e, m, k, p, a, b in zip(expected, middle, likeliest, top, low, high, strict=True)
    ]
