"""The programs of choices: means over the repeats, beside what today's file has; and a table that shows no test row."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hvd_train.config import RunConfig

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_means_are_over_the_repeats_and_keep_the_other_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    choices = importlib.import_module("choices")

    def run(wanted: list[Any]) -> list[dict[str, Any]]:
        return [
            {"metrics": {"test": {"rmse": trial.config.training.num_epochs + int(trial.names[2])}}} for trial in wanted
        ]

    monkeypatch.setattr(choices.trials, "run", run)
    configs = {(name, repeat): RunConfig() for name in ("b", "a") for repeat in (0, 1)}
    tried = {"ten": {"training": {"num_epochs": 10}}, "two": {"training": {"num_epochs": 2}}}
    found = choices.means(configs, tried, "rmse")
    assert found == {"b": {"ten": 10.5, "two": 2.5}, "a": {"ten": 10.5, "two": 2.5}}
    choices.add(tmp_path, "choices", "tables", {"a": {"ten": 1.0}, "c": {"ten": 3.0}}, order="abc", splits=[0])
    path = choices.add(tmp_path, "choices", "tables", found, order="abc", splits=[0, 1])
    document = json.loads(path.read_text())
    assert list(document["tables"]) == ["a", "b", "c"]
    assert document["tables"] == found | {"c": {"ten": 3.0}}
    assert document["splits"] == [0, 1]


def test_the_table_of_a_choice_has_no_test_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    program = importlib.import_module("table_choices")
    parts = ["train"] * 40 + ["val"] * 7 + ["test"] * 5
    pd.DataFrame({"target": range(52), "split0": parts, "split1": parts[::-1], "f0": 1.5}).to_csv(
        tmp_path / "t.csv", index=False
    )
    (tmp_path / "new").mkdir()
    table = pd.read_csv(program.judged_by_validation(tmp_path / "t.csv", 0, tmp_path / "new"))
    rows = {part: set(of["target"]) for part, of in table.groupby("split0")}
    assert rows["test"] == set(range(40, 47))
    assert len(rows["val"]) == 4
    assert rows["train"] | rows["val"] == set(range(40))
