"""CatBoost, LightGBM and XGBoost on a dataset's own split. Needs requirements/peers.txt.

Each learns from the train rows until the validation rows get no better. `scores` tunes: of a small grid, the setting with the best
validation RMSE or MAE is judged on the test rows. For the MAE the absolute error is tried as the loss, too. `untuned_scores` has one
setting, for many rows.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from peer_rows import rows_of

from hvd_train.config import SPLITS
from hvd_train.data import Dataset

MOST_TREES, PATIENCE = 5000, 100
RATES = (0.03, 0.1)

Rows = tuple[np.ndarray, np.ndarray]
Fit = Callable[[dict[str, Any], Rows, Rows, int], Any]


def _catboost(settings: dict[str, Any], train: Rows, val: Rows, threads: int) -> Any:
    from catboost import CatBoostRegressor

    model = CatBoostRegressor(
        iterations=MOST_TREES, early_stopping_rounds=PATIENCE, thread_count=threads, random_seed=0,
        allow_writing_files=False, logging_level="Silent", **settings,
    )  # fmt: skip
    return model.fit(*train, eval_set=val)


def _lightgbm(settings: dict[str, Any], train: Rows, val: Rows, threads: int) -> Any:
    from lightgbm import LGBMRegressor, early_stopping

    model = LGBMRegressor(n_estimators=MOST_TREES, n_jobs=threads, random_state=0, verbosity=-1, **settings)
    return model.fit(*train, eval_X=val[0], eval_y=val[1], callbacks=[early_stopping(PATIENCE, verbose=False)])


def _xgboost(settings: dict[str, Any], train: Rows, val: Rows, threads: int) -> Any:
    from xgboost import XGBRegressor

    model = XGBRegressor(
        n_estimators=MOST_TREES, early_stopping_rounds=PATIENCE, n_jobs=threads, random_state=0, **settings
    )
    return model.fit(*train, eval_set=[val], verbose=False)


# How each calls the absolute error, which stops it early on the MAE.
ABSOLUTE: dict[str, dict[str, str]] = {
    "CatBoost": {"loss_function": "MAE"},
    "LightGBM": {"objective": "l1"},
    "XGBoost": {"objective": "reg:absoluteerror"},
}
PEERS: dict[str, tuple[Fit, dict[str, tuple[Any, ...]]]] = {
    "CatBoost": (_catboost, {"learning_rate": RATES, "depth": (4, 6, 8)}),
    "LightGBM": (_lightgbm, {"learning_rate": RATES, "num_leaves": (7, 15, 31), "min_child_samples": (5, 20)}),
    "XGBoost": (_xgboost, {"learning_rate": RATES, "max_depth": (3, 5, 7), "min_child_weight": (1, 5)}),
}


def scores(dataset: Dataset, metrics: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """By peer: the test figure of each metric, tuned for that metric, with what was chosen and the seconds it took. Numbers alone."""
    train, val, test = (rows_of(dataset, split) for split in SPLITS)
    found: dict[str, dict[str, Any]] = {}
    for name, (fit, grid) in PEERS.items():
        found[name] = {}
        for metric in metrics:
            judged, losses = METRICS[metric], ({}, ABSOLUTE[name]) if metric == "mae" else ({},)
            began = time.monotonic()
            fitted = [(tried, fit(tried, train, val, 1)) for loss in losses for tried in _settings(grid, loss)]
            chosen, model = min(fitted, key=lambda each, judged=judged: judged(each[1], val))  # type: ignore[misc]
            seconds = time.monotonic() - began
            found[name][metric] = {"test": judged(model, test), "chosen": chosen, "seconds": seconds}
    return found


def untuned_scores(train: Rows, val: Rows, test: Rows, threads: int) -> dict[str, dict[str, float]]:
    """By peer, with its own default settings but for the rate: the RMSE on val and test rows, and the seconds of the fit."""
    found = {}
    for name, (fit, _) in PEERS.items():
        began = time.monotonic()
        model = fit({"learning_rate": max(RATES)}, train, val, threads)
        seconds = time.monotonic() - began
        found[name] = {"val": _rmse(model, val), "test": _rmse(model, test), "seconds": seconds}
    return found


def _settings(grid: dict[str, tuple[Any, ...]], more: dict[str, str]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True)) | more


def _rmse(model: Any, rows: Rows) -> float:
    return float(np.sqrt(np.mean((model.predict(rows[0]) - rows[1]) ** 2)))


def _mae(model: Any, rows: Rows) -> float:
    return float(np.mean(np.abs(model.predict(rows[0]) - rows[1])))


METRICS = {"rmse": _rmse, "mae": _mae}
