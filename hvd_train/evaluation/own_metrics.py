"""Metrics of a user's own: found by their references, checked before the first step, and named in every error.

numpy only, unless the user's file loads more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from hvd_train.config import resolve
from hvd_train.errors import ConfigError
from hvd_train.evaluation.baseline import Constants, TrainLabels, baselines
from hvd_train.evaluation.metric import Metric
from hvd_train.evaluation.metrics import MetricSet, add_to_table, is_built_in
from hvd_train.evaluation.output_spec import OutputSpec
from hvd_train.evaluation.predictions import Predictions

KEY = "metrics"


def metric_set(
    references: Iterable[str], spec: OutputSpec, train: TrainLabels, *, monitor: str | None = None
) -> MetricSet:
    """The built-in metrics, those that `references` name, which from now on are in the table, and that of `monitor`.

    Raises ConfigError where one cannot be had, does not suit these labels, or fails on a constant prediction. Every rank
    for itself; call it together, since a host may lack the file.
    """
    own: dict[str, Metric] = {}
    for reference in references:
        metric = _loaded(reference, spec)
        if metric.name in own:
            raise ConfigError(
                f"{KEY} = {reference!r} is not possible: another of the metrics has the name {metric.name!r}."
            )
        own[metric.name] = metric
    if own:
        # Its terms and its figure are computed once, so that a mistake is found now and not after the first epoch.
        some = np.array([train.median, train.mean]) if spec.kind == "values" else np.arange(len(spec.values))
        baselines(MetricSet.made_of(spec, own.values()), train, some)
    for metric in own.values():
        add_to_table(metric)
    return MetricSet.of(spec, own.values(), monitor=monitor)


def _loaded(reference: str, spec: OutputSpec) -> Metric:
    metric = resolve(reference, key=KEY)
    what = f"{KEY} = {reference!r} is not possible"
    if not isinstance(metric, Metric):
        raise ConfigError(f"{what}: it is a {type(metric).__name__}, and must be a hvd_train.evaluation.Metric.")
    if metric.row_terms is None:
        raise ConfigError(f"{what}: a metric of your own needs row_terms, the terms of each row.")
    if not metric.name.isidentifier() or is_built_in(metric.name):
        raise ConfigError(f"{what}: its name is {metric.name!r}. Choose a Python name that no built-in metric has.")
    if not metric.applies_to(spec):
        kinds = ", ".join(metric.label_kinds)
        needs = ", of a model that predicts probabilities" if metric.needs_probabilities else ""
        model = "probabilities" if spec.predicts_distribution else "one value"
        raise ConfigError(
            f"{what}: it is defined for labels of the kind {kinds}{needs}. These are {spec.kind}, and the model predicts "
            f"{model}. Leave it out."
        )
    return _checked(metric, reference)


def _checked(metric: Metric, reference: str) -> Metric:
    """The same metric, whose functions raise ConfigError naming `reference` where they fail or return something odd."""

    def call(function: Callable[..., Any], name: str, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            why = f"{type(error).__name__}: {error}".rstrip(".")
            raise ConfigError(f"{KEY} = {reference!r}: its {name} failed: {why}.") from error

    def terms(name: str, function: Callable[..., Any], num_rows: int, *arguments: Any) -> np.ndarray:
        found = np.asarray(call(function, name, *arguments))
        shapes = [(num_rows, metric.num_terms), *([(num_rows,)] if metric.num_terms == 1 else [])]
        if found.shape not in shapes or found.dtype.kind not in "biuf" or not np.isfinite(found).all():
            raise ConfigError(
                f"{KEY} = {reference!r}: its {name} gave an array of {found.dtype} with the shape {found.shape} for "
                f"{num_rows} rows. It must give finite numbers with the shape {shapes[-1]}."
            )
        return found

    row_terms, baseline_terms, figure = metric.row_terms, metric.baseline_terms, metric.figure
    assert row_terms is not None

    def checked_row_terms(rows: Predictions) -> np.ndarray:
        return terms("row_terms", row_terms, len(rows), rows)

    def checked_baseline_terms(constants: Constants, truth: np.ndarray) -> np.ndarray:
        assert baseline_terms is not None
        return terms("baseline_terms", baseline_terms, len(truth), constants, truth)

    def checked_figure(means: np.ndarray) -> float:
        value: float = call(lambda: float(figure(means)), "figure")
        if not np.isfinite(value) and np.isfinite(means).all():
            raise ConfigError(
                f"{KEY} = {reference!r}: its figure of the means {means.tolist()} is {value}. It must be a finite number, "
                "also for a constant prediction."
            )
        return value

    return dataclasses.replace(
        metric,
        row_terms=checked_row_terms,
        baseline_terms=None if baseline_terms is None else checked_baseline_terms,
        figure=checked_figure,
    )
