"""One rank's rows as a tf.data pipeline: resident once, gathered in each epoch's order, no Python per step.

Only augmentation is drawn in numpy, batch by batch, in the pipeline's own thread; without it nothing of Python runs
between two epochs. Shape letters: N rows of this rank, F features, K outputs, S steps, B local batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_train.config import SamplingConfig
from hvd_train.data import Augmentation, Dataset, Mixup, Rows
from hvd_train.training.train_targets import TrainTargets

PREFETCHED_BATCHES = 4


class TrainRows:
    """This rank's train rows with the config's targets, weights and augmentation. `epoch` says which epoch it is."""

    def __init__(
        self,
        dataset: Dataset,
        sampling: SamplingConfig,
        rows: Rows,
        targets: TrainTargets,
        *,
        seed: int,
        epoch: Callable[[], int],
    ) -> None:
        statistics, schema = dataset.statistics, dataset.schema
        self.rows, self.train_targets, self._epoch = rows, targets, epoch
        self.augmentation = Augmentation.of(
            sampling,
            seed=seed,
            layout=schema.layout,
            center=statistics.mean.astype(np.float32),
            scale=statistics.std.astype(np.float32),
        )
        self.mixup: Mixup | None = None
        if sampling.mixup_alpha > 0:
            numeric = schema.label_kind in ("years", "integers")
            values = (
                np.asarray(schema.label_values, np.float64)[rows.labels] if numeric else rows.labels.astype(np.float64)
            )
            self.mixup = Mixup(
                values,
                rows.row_ids,
                rows.shard_starts,
                seed=seed,
                alpha=sampling.mixup_alpha,
                # Names have no neighbours: a row is mixed with one of its own class.
                distance=0.0 if schema.label_kind == "classes" else sampling.mixup_distance,
            )

    def targets(self, positions_B: np.ndarray) -> np.ndarray:
        """(B, K) shares of the labels, (B, 1) or (B,) standardised values or (B,) labels of these rows."""
        return self.train_targets.of_labels(self.rows.labels[positions_B])

    def augmented(self, positions_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features (B, F) and targets of these rows in this epoch: pure in (seed, epoch, row id)."""
        assert self.augmentation is not None
        epoch, rows = self._epoch(), self.rows
        partner = None
        if self.mixup is not None:
            others_B, weight_B = self.mixup.pairs(epoch, positions_B)
            partner = (rows.features[others_B], self.targets(others_B).astype(np.float32), weight_B)
        ids_B = rows.row_ids[positions_B]
        targets = self.targets(positions_B)
        x_BF, y = self.augmentation.apply(rows.features[positions_B], targets, ids_B, epoch, partner=partner)
        return np.asarray(x_BF, np.float32), np.asarray(y, targets.dtype)


def epochs_dataset(
    train: TrainRows, order: Callable[[], np.ndarray], num_steps: int, *, positions_only: bool = False
) -> Any:
    """A finite tf.data.Dataset of `num_steps` batches (x (B, F), y (B,) or (B, K)[, weights (B,)]).

    With `positions_only` it yields the positions (B,) alone, for a step that gathers its rows itself. `order()` returns this epoch's positions into the rows, int32 (S, B). It is called once per iteration of the
    dataset, which in `model.fit` is once per epoch.
    """
    local_batch_size = order().shape[1]

    # Plain operations: converting them by AutoGraph would write a file into TMPDIR, which a killed rank leaves there.
    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def positions(_: Any) -> Any:
        drawn = tf.numpy_function(order, [], tf.int32, stateful=True)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(drawn, (num_steps, local_batch_size)))

    dataset = tf.data.Dataset.from_tensors(0).flat_map(positions)
    if not positions_only:
        dataset = dataset.map(batch_of(train))
    dataset = dataset.prefetch(PREFETCHED_BATCHES).apply(tf.data.experimental.assert_cardinality(num_steps))
    return dataset.with_options(steady_options())


def batch_of(train: TrainRows) -> Callable[[Any], Any]:
    """A function of the graph from positions (B,) to their batch. The rows lie where this is called (`tf.device`)."""
    rows, table, weights = train.rows, train.train_targets.table, train.train_targets.weights
    labels_N = tf.constant(rows.labels if table is not None else train.train_targets.of_labels(rows.labels))
    if train.augmentation is None:
        features_NF = tf.constant(rows.features)
        table_KK = None if table is None else tf.constant(table)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def batch(positions_B: Any) -> Any:
        labels_B = tf.gather(labels_N, positions_B)
        if train.augmentation is not None:
            y_type = labels_N.dtype if table is None else tf.float32
            x, y = tf.numpy_function(train.augmented, [positions_B], (tf.float32, y_type))
            local_batch_size = positions_B.shape[0]
            x = tf.ensure_shape(x, (local_batch_size, rows.features.shape[1]))
            y = tf.ensure_shape(y, (local_batch_size,) if table is None else (local_batch_size, table.shape[1]))
        else:
            x = tf.gather(features_NF, positions_B)
            y = labels_B if table_KK is None else tf.gather(table_KK, labels_B)
        return (x, y) if weights is None else (x, y, tf.gather(tf.constant(weights), labels_B))

    function: Callable[[Any], Any] = batch
    return function


def steady_options() -> Any:
    """tf.data without its tuner: on a rank that owns one core, every epoch's end would wait for the tuner's timer."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.private_threadpool_size = 1
    options.deterministic = True
    return options
