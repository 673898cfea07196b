"""A model over rows: outputs in batches, metrics over all ranks.

Shape letters: N rows, F features, K outputs, V virtual shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_train.data import Dataset, Rows, own_shards
from hvd_train.distributed import World
from hvd_train.evaluation import calibration, metrics
from hvd_train.evaluation.details import Details
from hvd_train.evaluation.metrics import Labels

# Rows of one forward pass; large enough for the matrix products, small enough for any memory.
INFERENCE_BATCH = 1024

Infer = Callable[[np.ndarray], np.ndarray]


def inference(model: Any) -> Infer:
    """A compiled forward pass, (N, F) float32 -> (N, K), for any N."""
    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    # As Keras traces it for training: without AutoGraph, whose files a killed rank leaves in TMPDIR.
    forward = tf.function(lambda x: model(x, training=False), input_signature=[spec], autograph=False)
    num_columns = model.output_shape[-1]

    def infer(features_NF: np.ndarray) -> np.ndarray:
        batches = range(0, len(features_NF), INFERENCE_BATCH)
        outputs = [forward(tf.constant(features_NF[i : i + INFERENCE_BATCH])).numpy() for i in batches]
        return np.concatenate(outputs) if outputs else np.empty((0, num_columns), np.float32)

    return infer


def own_sums(infer: Infer, labels: Labels, rows: Rows) -> np.ndarray:
    """Sums (shards of this rank, columns) over this rank's rows. This rank alone."""
    return _by_shard([terms for _, _, terms in scored(infer, labels, rows)], rows)


def scored(infer: Infer, labels: Labels, rows: Rows) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Outputs, targets and the metrics' terms of this rank's rows, some at a time. This rank alone."""
    for i in range(0, len(rows.labels), INFERENCE_BATCH):
        outputs, targets = infer(rows.features[i : i + INFERENCE_BATCH]), rows.labels[i : i + INFERENCE_BATCH]
        yield outputs, targets, metrics.row_sums(labels, outputs, targets)


def _by_shard(terms: list[np.ndarray], rows: Rows) -> np.ndarray:
    joined = np.concatenate(terms) if terms else np.zeros((0, len(metrics.COLUMNS)))
    return metrics.sums_by_shard(joined, rows.shard_starts)


def over_all_ranks(world: World, own: np.ndarray, num_virtual_shards: int) -> np.ndarray:
    """Every rank's sums in one (V, columns). All ranks.

    Each rank fills its own shards' rows and leaves zeros elsewhere, so the sum over ranks is exact and the total is
    added up in the order of the shards: the figures do not depend on the number of ranks by even a rounding.
    """
    every = np.zeros((num_virtual_shards, len(metrics.COLUMNS)))
    shards = own_shards(world.rank, world.size, num_virtual_shards)
    every[shards.start : shards.stop] = own
    return world.allreduce_sum(every)


def evaluate(world: World, infer: Infer, labels: Labels, rows: Rows, num_virtual_shards: int) -> dict[str, float]:
    """Metrics over all ranks' rows of a split. All ranks."""
    return metrics.from_sums(labels.kind, over_all_ranks(world, own_sums(infer, labels, rows), num_virtual_shards))


def at_temperature(infer: Infer, temperature: float) -> Infer:
    """The same with the logits divided by it."""
    return infer if temperature == 1 else lambda features: infer(features) / temperature


def fitted_temperature(world: World, infer: Infer, labels: Labels, rows: Rows) -> float:
    """The temperature that suits all ranks' rows best; 1 for a model that says one value. All ranks."""
    if labels.point:
        return 1.0
    return calibration.temperature(infer(rows.features), rows.labels, world.allreduce_sum)


def evaluate_in_detail(
    world: World,
    infer: Infer,
    labels: Labels,
    rows: Rows,
    num_virtual_shards: int,
    *,
    train_counts: np.ndarray,
    names: Sequence[Any],
) -> tuple[np.ndarray, dict[str, Any]]:
    """All ranks' sums (V, columns) of a split, and where the model errs there, in one pass. All ranks.

    `train_counts` and `names` (K,) are those of the labels.
    """
    terms, details = [], Details(labels)
    for outputs, targets, batch in scored(infer, labels, rows):
        terms.append(batch)
        details.add(outputs, targets, batch)
    total = over_all_ranks(world, _by_shard(terms, rows), num_virtual_shards)
    return total, details.result(world, train_counts, names)


def best_possible(dataset: Dataset, split: Any) -> dict[str, float]:
    """The Bayes-optimal figures by our metrics' names, where the data carries them; else empty. Pure."""
    known = dataset.optimum(split) or {}
    return {"within_5" if name == "accuracy_within_5" else name: figure for name, figure in known.items()}


def baseline_of(world: World, dataset: Dataset, labels: Labels, split: Any, rows: Rows) -> dict[str, float]:
    """What constants from the train split score on `split`. All ranks where the labels are real values."""
    if labels.kind != "values":
        train = metrics.Baseline.of(labels, dataset.label_counts("train"))
        return train.metrics(labels, dataset.label_counts(split))
    statistics = dataset.statistics
    constants = (statistics.label_mean or 0.0, statistics.label_median or 0.0, statistics.label_std or 1.0)
    own = metrics.value_baseline(labels, *constants, rows.labels)
    return metrics.from_sums("values", world.allreduce_sum(own))
