"""scikit-learn's models on a dataset's own split, each tuned by cross-validation on the rows that ours trains on.

Shared by the programs of results. A peer is tuned twice, once for each metric, and judged by the one it was tuned for:
the most that can be asked of it. Train and validation rows together are its train rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from peer_rows import rows_of
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler
from sklearn.svm import SVC, SVR

from hvd_train.config import SPLITS
from hvd_train.data import Dataset

SCORING = {"rmse": "neg_root_mean_squared_error", "mae": "neg_mean_absolute_error", "accuracy": "accuracy"}
NUM_FOLDS = 3


@dataclass(frozen=True)
class Peer:
    """A model, and the settings that are tried."""

    name: str
    model: Callable[[], Any]
    grid: dict[str, list[Any]]


def _quantiles() -> QuantileTransformer:
    return QuantileTransformer(n_quantiles=200, output_distribution="normal", random_state=0)


REGRESSORS = [
    Peer(
        "HistGradientBoosting",
        lambda: HistGradientBoostingRegressor(random_state=0, early_stopping=False),
        {
            "loss": ["squared_error", "absolute_error"],
            "learning_rate": [0.03, 0.06],
            "max_iter": [150, 400],
            "max_leaf_nodes": [7, 15],
            "l2_regularization": [10.0],
        },
    ),
    Peer(
        "ExtraTrees",
        lambda: ExtraTreesRegressor(n_estimators=300, random_state=0),
        {"max_features": [0.3, 0.6, 1.0], "min_samples_leaf": [1, 3]},
    ),
    Peer(
        "SVR, quantile inputs",
        lambda: TransformedTargetRegressor(
            make_pipeline(SimpleImputer(), _quantiles(), SVR()), transformer=StandardScaler()
        ),
        {
            "regressor__svr__C": [0.3, 1.0, 3.0, 10.0],
            "regressor__svr__gamma": [0.003, 0.01, 0.03],
            "regressor__svr__epsilon": [0.05, 0.2],
        },
    ),
    Peer(
        "Ridge",
        lambda: make_pipeline(SimpleImputer(), StandardScaler(), Ridge()),
        {"ridge__alpha": [0.1, 1.0, 10.0, 100.0, 1000.0]},
    ),
]
CLASSIFIERS = [
    Peer(
        "support vector machine",
        lambda: make_pipeline(StandardScaler(), SVC()),
        {"svc__C": [1.0, 10.0, 100.0], "svc__gamma": [0.0003, 0.001, 0.003, 0.01]},
    ),
    Peer(
        "logistic regression",
        lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        {"logisticregression__C": [0.1, 1.0, 10.0, 100.0]},
    ),
]


def scores(dataset: Dataset, peers: list[Peer], metrics: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """By peer: the test figure of each metric, tuned for that metric, with what was chosen and the seconds it took."""
    numeric = dataset.schema.label_kind != "classes"
    train, val, test = (rows_of(dataset, split) for split in SPLITS)
    x, y = (np.concatenate(parts) for parts in zip(train, val, strict=True))
    folds: Any = KFold if numeric else StratifiedKFold
    found: dict[str, dict[str, Any]] = {}
    for peer in peers:
        found[peer.name] = {}
        for metric in metrics:
            started = time.monotonic()
            search = GridSearchCV(
                peer.model(), peer.grid, scoring=SCORING[metric], cv=folds(NUM_FOLDS, shuffle=True, random_state=0)
            ).fit(x, y)
            found[peer.name][metric] = {
                "test": abs(float(search.score(*test))),
                "chosen": search.best_params_,
                "seconds": time.monotonic() - started,
            }
    return found
