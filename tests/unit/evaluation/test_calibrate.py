"""The temperature that makes the likelihood greatest, wherever the rows are."""

from __future__ import annotations

import numpy as np
import pytest

from hvd_train.evaluation.calibration import LEAST, temperature


def rows(num_rows: int = 20_000, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose true temperature is `scale`."""
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, (num_rows, 7))
    return scale * true, (true + rng.gumbel(size=true.shape)).argmax(1)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(scale: float) -> None:
    assert temperature(*rows(scale=scale)) == pytest.approx(scale, rel=0.03)


def test_it_is_the_minimum_of_the_likelihood_of_all_ranks_rows() -> None:
    """Each rank sees its own rows; what the others add is given here as the same sums over theirs."""
    logits, targets = rows(2000, 2.0)
    steps: list[np.ndarray] = []
    whole = temperature(logits, targets, lambda own: (steps.append(own), own)[1])
    own_steps: list[np.ndarray] = []

    def allreduce(own: np.ndarray) -> np.ndarray:
        own_steps.append(own)
        return steps[len(own_steps) - 1]

    assert temperature(logits[:300], targets[:300], allreduce) == whole
    assert abs(own_steps[0][1]) < abs(steps[0][1])

    def nll(t: float) -> float:
        z = logits / t
        return float((np.log(np.exp(z).sum(1)) - z[np.arange(2000), targets]).mean())

    assert nll(whole) < min(nll(0.98 * whole), nll(1.02 * whole))


def test_few_rows_that_are_all_right_do_not_ask_for_certainty() -> None:
    logits = 5 * np.eye(4)
    assert LEAST < temperature(logits, np.arange(4)) <= 1
    assert temperature(np.zeros((0, 4)), np.zeros(0, int)) == 1.0
