"""MetricAverageCallback: the metrics of an epoch over all ranks' samples, before any other callback reads them.

Keras' metrics are sums and counts. The ranks' sums and counts are added, and the metric computes its result from them:
for a mean this is the average weighted by the samples each rank really saw; for AUC, precision or IoU it is the metric
of the whole set, which no average of the ranks' values is. Where that cannot be (a metric class of one's own, values
that a train_step returns without a metric), the values are averaged with the samples as weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import horovod.tensorflow as _horovod
import keras
import numpy as np
import tensorflow as tf
from horovod.tensorflow.functions import allgather_object

from hvd_train.keras import hooks
from hvd_train.keras.basics import native, require_initialized


class MetricMismatchError(ValueError):
    """A metric exists on some ranks only. Raised alike on every rank."""


@dataclass(frozen=True)
class _Seen:
    """What a rank's metrics hold after one pass over its data."""

    samples: float
    sums: tuple[np.ndarray[Any, Any], ...] | None
    """Values of the metrics' variables; None if they cannot be added."""


class MetricAverageCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Replace the logs of each epoch, training and validation, by the values over all ranks. Every rank must use it.

    Wherever it stands in the list, it runs first. What evaluate() returns is this rank's: no callback can change it.

    Args:
        device: TensorFlow device for the collectives.

    Raises:
        MetricMismatchError: at the end of the epoch, if the ranks' logs have different names.
    """

    hvd_runs_first = True
    hvd_communicates = True

    def __init__(self, device: str = "") -> None:
        super().__init__()
        hooks.install()
        self.device = device
        self._fitting = False
        self._train: _Seen | None = None
        self._val: _Seen | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        require_initialized("MetricAverageCallback")
        self._fitting = True

    def on_train_end(self, logs: Any = None) -> None:
        self._fitting = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._train = self._val = None

    def on_test_begin(self, logs: Any = None) -> None:
        if self._fitting:  # the validation is about to clear the metrics of the training
            self._train = _look(self.model)

    def on_test_end(self, logs: Any = None) -> None:
        if self._fitting:
            self._val = _look(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs is None:
            return
        train = self._train if self._train is not None else _look(self.model)
        self._average(logs, {"": train} | ({"val_": self._val} if self._val is not None else {}))

    def _average(self, logs: dict[str, Any], seen: Mapping[str, _Seen]) -> None:
        """Overwrite `logs` in place. Two collectives, whatever the number of metrics; a third adds the sums."""
        require_initialized("MetricAverageCallback")
        if _horovod.size() == 1:
            return
        numbers = {k: float(v) for k, v in logs.items() if np.ndim(v) == 0 and not isinstance(v, (str, bytes))}
        mine: dict[str, Any] = {
            "names": sorted(logs),
            "numbers": numbers,
            "samples": {part: s.samples for part, s in seen.items()},
            "shapes": {part: s.sums and [a.shape for a in s.sums] for part, s in seen.items()},
        }
        everyone = allgather_object(mine, name="hvd_train.keras.metrics")
        _check_names([rank["names"] for rank in everyone])
        for name in numbers:
            part = "val_" if name.startswith("val_") and "val_" in seen else ""
            weights = [rank["samples"].get(part, 1.0) for rank in everyone]
            logs[name] = _weighted_mean([rank["numbers"][name] for rank in everyone], weights)
        for part, own in seen.items():
            if own.sums and all(rank["shapes"].get(part) == mine["shapes"][part] for rank in everyone):
                with tf.device(self.device):
                    result = _result_of_sums(self.model, own.sums)
                logs.update({part + k: v for k, v in result.items() if part + k in numbers})


def _look(model: Any) -> _Seen:
    if model is None:
        return _Seen(1.0, None)
    metrics = _flat(model.metrics)
    means = [m for m in metrics if isinstance(m, keras.metrics.Mean)]
    # Keras' own loss counts samples, and comes first; a custom train_step's Mean counts what it was given, as batches.
    samples = next((float(m.count) for m in means if float(m.count) > 0), 1.0 if not means else 0.0)
    if not all(_adds_up(m) for m in metrics):
        return _Seen(samples, None)
    return _Seen(samples, tuple(v.numpy().astype(np.float64) for v in _variables(model)))


def _flat(metrics: Sequence[Any]) -> list[Any]:
    """The metrics themselves, in place of the containers that compile() makes."""
    found: list[Any] = []
    for metric in metrics:
        inner = getattr(metric, "metrics", None)
        found.extend(_flat(inner) if inner is not None else [metric])
    return found


def _adds_up(metric: Any) -> bool:
    """Whether the metric's state on all the data is the sum of its states on the parts: so for all of Keras' own."""
    own = type(metric).__module__.split(".")[0] == "keras"
    return own or (isinstance(metric, keras.metrics.Mean) and type(metric).result is keras.metrics.Mean.result)


def _variables(model: Any) -> list[Any]:
    return [v for metric in model.metrics for v in metric.variables]


def _result_of_sums(model: Any, sums: Sequence[np.ndarray[Any, Any]]) -> dict[str, float]:
    """The metrics' results on the sums over all ranks. The model's metrics are left as they were."""
    flat = np.concatenate([a.ravel() for a in sums]) if sums else np.zeros(0)
    total = _horovod.allreduce(tf.constant(flat), op=_horovod.Sum, name="hvd_train.keras.metrics.sums").numpy()
    variables = _variables(model)
    before = [v.numpy().copy() for v in variables]
    try:
        _assign(variables, np.split(total, np.cumsum([a.size for a in sums])[:-1]))
        return {k: float(v) for k, v in model.get_metrics_result().items() if np.ndim(v) == 0}
    finally:
        _assign(variables, before)


def _assign(variables: Sequence[Any], values: Sequence[np.ndarray[Any, Any]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(tf.cast(value.reshape(variable.shape), native(variable).dtype))


def _check_names(names: Sequence[Sequence[str]]) -> None:
    for name in sorted(set().union(*names)):
        having = [rank for rank, here in enumerate(names) if name in here]
        if len(having) < len(names):
            lacking = [rank for rank in range(len(names)) if rank not in having]
            raise MetricMismatchError(
                f"The metric {name!r} exists on ranks {having} and not on ranks {lacking}. All ranks must compile the "
                "same metrics, and either all or none must give validation data."
            )


def _weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    pairs = [(v, w) for v, w in zip(values, weights, strict=True) if w > 0]  # a rank without samples has no say
    if not pairs:
        return float(np.mean(values))
    return sum(v * w for v, w in pairs) / sum(w for _, w in pairs)
