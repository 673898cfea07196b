"""The table of objectives: complete, and open to a user's entry. Without TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hvd_train.config.objective import LOSSES
from hvd_train.errors import ConfigError
from hvd_train.evaluation import OutputSpec
from hvd_train.models import OBJECTIVES, objective, objective_for

OWN = """
from hvd_train.models import ProbabilityObjective, ValueObjective

class Cubed(ValueObjective):
    degree = 3
    def row_loss(self, error_N, std_N, delta):
        return abs(error_N) ** 3

class Own(ProbabilityObjective):
    label_kinds = ("classes",)

instance = Cubed()
nothing = 3
"""


def test_the_flag_and_the_table_name_the_same_losses() -> None:
    """config is below models, so the names for --help stand there."""
    assert ("auto", *OBJECTIVES) == LOSSES


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_a_model_predicts_follows_from_its_objective(name: str) -> None:
    entry = OBJECTIVES[name]
    for kind in entry.label_kinds:
        spec = OutputSpec.of(kind, () if kind == "values" else (1990, 1991), name)  # type: ignore[arg-type]
        assert spec.predicts_distribution == (entry.predicts(kind) == "probabilities")
        assert spec.predicts_std == (name == "gaussian" and kind == "values")
    assert (entry.takes_shares, entry.takes_indices) == (name in ("cross-entropy", "focal", "coral", "corn"), name == "cross-entropy")  # fmt: skip


def test_an_objective_from_outside(tmp_path: Path) -> None:
    file = tmp_path / "own_losses.py"
    file.write_text(OWN)
    name, cubed = objective_for(f"{file}:Cubed", "values")
    assert cubed is objective(f"{file}:Cubed")
    spec = OutputSpec.of("values", (), name)
    assert (spec.point_loss, spec.predicts_distribution) == (name, False)
    assert spec.loss_of_errors(np.array([-2.0, 1.0])).tolist() == [8.0, 1.0]
    assert type(objective(f"{file}:instance")).__name__ == "Cubed"
    assert OutputSpec.of("classes", ("a", "b"), f"{file}:Own").predicts_distribution
    with pytest.raises(ConfigError, match="not for labels that are years. Choose cross-entropy, focal, coral"):
        objective_for(f"{file}:Own", "years")
    with pytest.raises(ConfigError, match=r"is no hvd_train\.models\.ProbabilityObjective"):
        objective(f"{file}:nothing")
