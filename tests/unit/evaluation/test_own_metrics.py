"""References to metrics: what is refused, with what to do about it, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hvd_train.errors import ConfigError
from hvd_train.evaluation.baseline import TrainLabels
from hvd_train.evaluation.metrics import metric_named
from hvd_train.evaluation.output_spec import OutputSpec
from hvd_train.evaluation.own_metrics import metric_set
from hvd_train.evaluation.predictions import Predictions

YEARS = OutputSpec.of("years", (1999, 2000, 2001))
TRAIN = TrainLabels(np.array([1, 2, 3]), names=(1999, 2000, 2001))
HEAD = "import numpy as np\nfrom hvd_train.evaluation import Metric\nm = Metric(higher_is_better=True, "


def reference(folder: Path, arguments: str) -> str:
    (folder / "mine.py").write_text(f"{HEAD}{arguments})\nnothing = 3\n")
    return f"{folder / 'mine.py'}:m"


def test_one_from_a_file_joins_the_table(tmp_path: Path) -> None:
    text = reference(tmp_path, "name='late', title='too late', row_terms=lambda rows: rows.most_likely > rows.truth")
    chosen = metric_set([text], YEARS, TRAIN)
    logits = np.array([[0, 0, 9], [9, 0, 0]], np.float32)
    terms = chosen.row_terms(Predictions(YEARS, logits, np.array([0, 0])))
    assert chosen.figures(terms)["late"] == 0.5
    assert metric_named("late").title == "too late"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("name='accuracy', title='t', row_terms=len", "no built-in metric has"),
        ("name='a b', title='t', row_terms=len", "Choose a Python name"),
        ("name='m', title='t'", "needs row_terms"),
        ("name='m', title='t', row_terms=lambda rows: 1 / 0", "its row_terms failed: ZeroDivisionError"),
        ("name='m', title='t', row_terms=lambda rows: rows.mean[:1]", r"shape \(1,\) for 3 rows.*shape \(3,\)"),
        ("name='m', title='t', row_terms=lambda rows: rows.mean * np.nan", "finite numbers"),
        ("name='m', title='t', row_terms=lambda rows: rows.mean, figure=lambda means: means[1]", "its figure failed"),
        ("name='m', title='t', row_terms=lambda rows: rows.mean, figure=lambda means: np.inf", "its figure of the means"),
        ("name='m', title='t', row_terms=len, label_kinds=('classes',)", "defined for labels of the kind classes"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_its_reference(tmp_path: Path, arguments: str, message: str) -> None:
    text = reference(tmp_path, arguments)
    with pytest.raises(ConfigError, match=message) as raised:
        metric_set([text], YEARS, TRAIN)
    assert f"metrics = {text!r}" in str(raised.value)


def test_other_things_and_the_same_name_twice_are_refused(tmp_path: Path) -> None:
    text = reference(tmp_path, "name='late', title='too late', row_terms=lambda rows: rows.mean")
    with pytest.raises(ConfigError, match="is a int, and must be a hvd_train.evaluation.Metric"):
        metric_set([text.replace(":m", ":nothing")], YEARS, TRAIN)
    with pytest.raises(ConfigError, match="another of the metrics has the name 'late'"):
        metric_set([text, text], YEARS, TRAIN)


def test_probabilities_are_not_asked_of_a_model_that_predicts_one_value(tmp_path: Path) -> None:
    text = reference(tmp_path, "name='sure', title='t', needs_probabilities=True, row_terms=lambda rows: rows.probabilities.max(axis=1)")  # fmt: skip
    assert "sure" in [metric.name for metric in metric_set([text], YEARS, TRAIN).of_rows]
    with pytest.raises(ConfigError, match="of a model that predicts probabilities.*the model predicts one value"):
        metric_set([text], OutputSpec.of("years", (1999, 2000, 2001), "mse"), TRAIN)
