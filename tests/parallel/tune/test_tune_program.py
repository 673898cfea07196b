"""A trial of `hvd-train tune` is judged by what a run of the same config is judged by."""

from __future__ import annotations

from typing import Any

import pytest

from hvd_train.config import recipes
from hvd_train.distributed.world import World
from hvd_train.training import experiment
from hvd_train.tune import rank_program

CONFIG = recipes.DEBUG.replace(
    table={"num_songs": 2000}, split={"num_virtual_shards": 60}, training={"global_batch_size": 120}
)


@pytest.mark.parametrize("loss", ["coral", "gaussian"])
def test_a_trial_scores_what_the_head_says_and_not_its_raw_outputs(
    world: World, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    if 60 % world.size:
        pytest.skip(f"{world.size} ranks cannot share 60 virtual shards")
    shapes: list[tuple[tuple[int, ...], int]] = []
    scored = experiment.metrics_of

    def spy(world: World, infer: Any, metrics: Any, blocks: Any, **named: Any) -> dict[str, float]:
        shapes.append((infer(blocks[0].features[:2]).shape, len(metrics.spec.values)))
        return scored(world, infer, metrics, blocks, **named)

    monkeypatch.setattr(experiment, "metrics_of", spy)
    answer = rank_program.trained(CONFIG.replace(objective={"loss": loss}), world, target=None, seconds=0.2)
    assert shapes
    assert all(shape == (2, num_labels) for shape, num_labels in shapes)
    assert answer["curve"]
