"""A trial of `hvd-train tune` is judged by what a run of the same config is judged by."""

from __future__ import annotations

from typing import Any

import pytest

from hvd_train.config import recipes
from hvd_train.distributed.world import World
from hvd_train.evaluation import loop
from hvd_train.tune import trial

CONFIG = recipes.DEBUG.replace(data={"num_songs": 2000, "num_virtual_shards": 60}, training={"global_batch_size": 120})


@pytest.mark.parametrize("loss", ["coral", "gaussian"])
def test_a_trial_scores_what_the_head_says_and_not_its_raw_outputs(
    world: World, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    if 60 % world.size:
        pytest.skip(f"{world.size} ranks cannot share 60 virtual shards")
    shapes: list[tuple[tuple[int, ...], int]] = []
    scored = loop.evaluate

    def spy(world: World, infer: Any, labels: Any, rows: Any, num_virtual_shards: int) -> dict[str, float]:
        shapes.append((infer(rows.features[:2]).shape, len(labels.values)))
        return scored(world, infer, labels, rows, num_virtual_shards)

    monkeypatch.setattr(loop, "evaluate", spy)
    answer = trial.trained(CONFIG.replace(objective={"loss": loss}), world, target=None, seconds=0.2)
    assert shapes
    assert all(shape == (2, num_labels) for shape, num_labels in shapes)
    assert answer["curve"]
