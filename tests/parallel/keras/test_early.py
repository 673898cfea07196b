"""Where gradients leave in groups, those of the last layers are computed first, so that their exchange begins early."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from hvd_train.keras.optimizers.early import last_groups_first


def gradients_of_two_layers(*, reverse: bool) -> tuple[list[Any], list[Any]]:
    """The operations and the values of the gradients of a first and a second layer, which are two groups."""
    first, second = tf.Variable(tf.ones([3, 4])), tf.Variable(tf.ones([4, 2]))
    ops = []

    @tf.function
    def gradients() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((tf.nn.relu(tf.ones([5, 3]) @ first) @ second) ** 2)
        found = tape.gradient(loss, [first, second])
        groups = [[g] for g in found]
        last_groups_first(groups[::-1] if reverse else groups)
        ops.extend(g.op for g in found)
        return found

    return ops, [g.numpy() for g in gradients()]


def needed(op: Any) -> set[Any]:
    """All operations that end before `op` begins."""
    found: set[Any] = set()
    left = [op]
    while left:
        op = left.pop()
        for other in [t.op for t in op.inputs] + list(op.control_inputs):
            if other not in found:
                found.add(other)
                left.append(other)
    return found


@pytest.mark.parametrize("reverse", [False, True], ids=["groups in order", "last group first"])
def test_the_last_layer_s_gradient_is_computed_before_the_first_layer_s(reverse: bool) -> None:
    (of_first, of_second), values = gradients_of_two_layers(reverse=reverse)
    assert of_second in needed(of_first)
    assert of_first not in needed(of_second)
    assert [v.tolist() for v in values] == [[[240.0] * 4] * 3, [[360.0] * 2] * 4]


def test_what_leads_to_the_gradient_of_the_first_layer_alone_waits_too() -> None:
    """Else TensorFlow may go on with the first layers while the last one's weights wait."""
    (of_first, of_second), _ = gradients_of_two_layers(reverse=False)
    alone = needed(of_first) - needed(of_second) - {of_second}
    costly = [op for op in alone if op.type in ("MatMul", "ReluGrad")]
    assert costly
    assert all(of_second in needed(op) for op in costly)
