"""Reports of runs that never were, for what shows them: years, classes and real values."""

from __future__ import annotations

from typing import Any

from hvd_train.runs import Report

EPOCHS = 3


def report(kind: str = "years", **changes: Any) -> Report:
    """The report of a run whose labels are of this kind: years, classes or values."""
    names = {
        "years": ["loss", "accuracy", "mae", "rmse"],
        "classes": ["loss", "accuracy"],
        "values": ["loss", "mae", "rmse"],
    }[kind]
    figures = {name: 1.0 + number for number, name in enumerate(names)}
    history = [
        {"epoch": epoch, "loss": 3.0 / epoch, **{f"val_{name}": 4.0 / epoch for name in names},
         "learning_rate": 0.001, "samples_per_s": 1000.0 + epoch, "seconds": 2.0}
        for epoch in range(1, EPOCHS + 1)
    ]  # fmt: skip
    values: dict[str, Any] = {
        "facts": {"ranks": "2 on node1 (2)", "model": "seed_cnn, 10 weights", "data": "songs.csv"},
        "config": {"table": {"path": "songs.csv", "drop": []}, "training": {"num_epochs": EPOCHS, "seed": 0}},
        "settings": {"threads_per_rank": 1},
        "metrics": {split: dict(figures) for split in ("val", "test")},
        "baselines": {split: {name: value + 0.5 for name, value in figures.items()} for split in ("val", "test")},
        "optimum": {split: {"rmse": 0.5} if kind == "years" else {} for split in ("val", "test")},
        "details": {split: details(kind) for split in ("val", "test")},
        "temperature": 1.0,
        "verdict": "better than the trivial baseline in every metric",
        "published": {},
        "epochs": EPOCHS,
        "best_epoch": 2,
        "stopped_early": False,
        "train_seconds": 6.0,
        "wall_seconds": 9.0,
        "import_seconds": 4.0,
        "first_steps_seconds": 1.0,
        "samples_per_s": 1002.0,
        "history": history,
        "data_checksum": "abc",
        "rows": {"train": 80, "val": 10, "test": 10},
        "versions": {"hvd_train": "0.1.0", "python": "3.11.7"},
        "hosts": {"node1": 2},
        "size": 2,
        "seed": 0,
        "git": {"commit": "0123456789abcdef", "dirty": True},
        "date": "2026-01-02T03:04:05+00:00",
        "notes": ["the learning rate is multiplied by 0.5"],
        "ranks": [{"rank": r, "host": "node1", "peak_memory_bytes": 2**29, "cpu_seconds": 8.0} for r in range(2)],
        "steps": 30,
        "gradient_bytes": 2**20,
    }
    return Report(**(values | changes))


def details(kind: str) -> dict[str, Any]:
    """Where the model errs, as `evaluation.breakdown` has it."""
    grid = {"edges": [0.0, 1.0, 2.0], "rows": [[3, 1], [0, 6]]}
    if kind == "values":
        return {"predicted_against_true": grid}
    shot = {"labels": 2, "train_rows": 80, "rows": 10, "accuracy": 0.5}
    bins = [{"rows": 4, "confidence": 0.2, "accuracy": 0.25}, {"rows": 6, "confidence": 0.7, "accuracy": 0.5}]
    found = {"shots": {"many": shot}, "reliability": bins, "expected_calibration_error": 0.1}
    if kind == "classes":
        row = {"train_rows": 40, "rows": 5, "predicted": 5, "recall": 0.8, "precision": 0.8, "f1": 0.8, "auc": None}
        classes = [row | {"label": "<oak>"}, row | {"label": "elm"}]
        return found | {"classes": classes, "confusion": [[4, 1], [1, 4]], "most_confused": []}
    shot |= {"decade_accuracy": 0.6, "mae": 4.0, "rmse": 5.0}
    means = {"balanced_mae": 5.0, "macro_accuracy_by_decade": 0.5}
    return found | means | {"decades": [{"decade": 1990, **shot}], "predicted_against_true": grid}
