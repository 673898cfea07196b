"""The order of the backward pass where gradients leave in groups: those of the last layers, which are ready first, first.

TensorFlow runs what is ready in an order of its own. On few cores it goes on to the first layers, and computes the gradients of
the weights of the last ones at the end, so no group is ready early. An edge of the graph without data changes that.

Li et al. 2020, "PyTorch Distributed", section 3.2.3 (arXiv 2006.15704) sends its buckets in this order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf


def last_groups_first(groups: Sequence[Sequence[Any]]) -> None:
    """Have TensorFlow compute the gradients of the last layers before what only those of earlier ones need.

    The values stay the same. Which group belongs to later layers is seen in the graph: fewer operations lead to it.

    Args:
        groups: the gradients of each group, of a graph that is being traced. In eager mode, where everything is computed
            already, nothing is done.
    """
    parts = [[_values(g) for g in group] for group in groups]
    if len(parts) < 2 or not all(tf.is_symbolic_tensor(t) for part in parts for t in part):
        return
    parts.sort(key=lambda part: len(_ancestors([t.op for t in part], without=set())))
    computed: set[Any] = set()
    ready: list[Any] = []  # operations whose end says that the groups so far are computed
    for part in parts:
        own = _ancestors([t.op for t in part], without=computed)
        for op in own if ready else ():
            if any(t.op in computed for t in op.inputs):
                op._add_control_inputs(ready)
        computed |= own
        ready += [t.op for t in part]


def _values(gradient: Any) -> Any:
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def _ancestors(ops: Iterable[Any], *, without: set[Any]) -> set[Any]:
    """`ops` and all that they need, but for what is in `without`."""
    found: set[Any] = set()
    left = [op for op in ops if op not in without]
    while left:
        op = left.pop()
        if op not in found:
            found.add(op)
            needed = [t.op for t in op.inputs] + list(op.control_inputs)
            left.extend(other for other in needed if other not in without)
    return found
