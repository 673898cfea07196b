"""Do all ranks build the same model? Asked once, at the first reduction or broadcast of a set of variables.

Gradients meet by position. Ranks with different models would average unrelated tensors where the shapes happen to
agree, and hang where the number of tensors differs; so names, shapes, types and the kind of each gradient are compared
first. The check costs one collective of 40 bytes per rank; only where it finds a difference are the descriptions sent.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import horovod.tensorflow as _horovod
import numpy as np
import tensorflow as tf
from horovod.tensorflow.functions import allgather_object

_NUMBERED = re.compile(r"^(.*?)(?:_(\d+))?$")


class ModelMismatchError(ValueError):
    """The ranks disagree on a variable (name, shape, type, kind of gradient) or on a layer's vocabulary. Raised alike on every rank."""


def gradient_kind(gradient: Any) -> str:
    """ "dense", "sparse" or "none": kinds travel in different collectives, so ranks must agree on them."""
    if gradient is None:
        return "none"
    return "sparse" if isinstance(gradient, tf.IndexedSlices) else "dense"


def describe(variables: Sequence[Any], gradients: Sequence[Any] | None = None) -> list[str]:
    """One line per variable: name, a tab, shape, type and, where `gradients` is given, the kind of its gradient."""
    names = _without_running_numbers([str(getattr(v, "path", None) or v.name) for v in variables])
    lines = [f"{name}\t{tuple(v.shape)} {tf.as_dtype(v.dtype).name}" for name, v in zip(names, variables, strict=True)]
    if gradients is None:
        return lines
    return [f"{line} ({gradient_kind(g)} gradient)" for line, g in zip(lines, gradients, strict=True)]


def agree(lines: Sequence[str], *, number: int, process_set: Any, contents: Sequence[str] = ()) -> int:
    """Compare `lines` over the ranks of `process_set`, all of which must call; returns the largest `number` given.

    Runs eagerly, also while a tf.function is traced. `contents` are lines of hidden.py, compared too.

    Raises:
        ModelMismatchError: on every rank alike, naming the first line that differs.
    """
    contents = _with_names_of_places(contents)
    digest = hashlib.sha256("\n".join([*lines, "", *contents]).encode()).digest()
    mine = [*np.frombuffer(digest, dtype=np.int64).tolist(), number]
    with tf.init_scope():
        gathered = _horovod.allgather(
            tf.constant([mine], tf.int64), name="hvd_train.keras.check", process_set=process_set
        ).numpy()
        if (gathered[:, :-1] == gathered[0, :-1]).all():
            return int(gathered[:, -1].max())
        everyone = allgather_object(
            (list(lines), contents), name="hvd_train.keras.check.lines", process_set=process_set
        )
    difference = _first_difference([lines for lines, _ in everyone], process_set)
    if difference is None:
        difference = _first_other_content([held for _, held in everyone], process_set)
    if difference is not None:
        raise ModelMismatchError(difference)
    return int(gathered[:, -1].max())


def _without_running_numbers(names: Sequence[str]) -> list[str]:
    """Replace each automatic number (`dense_7`) by its place among the numbers of that word.

    Keras counts layers over the life of the process. A rank that has built another model before has larger numbers for
    the same layers; that is no difference. An order that is swapped still is one.
    """
    split = [[_NUMBERED.match(part).groups("-1") for part in name.split("/")] for name in names]  # type: ignore[union-attr]
    numbers: dict[str, set[int]] = {}
    for parts in split:
        for word, number in parts:
            numbers.setdefault(word, set()).add(int(number))
    place = {(word, n): i for word, seen in numbers.items() for i, n in enumerate(sorted(seen))}
    return ["/".join(f"{word}_{i}" if (i := place[word, int(n)]) else word for word, n in parts) for parts in split]


def _first_difference(everyone: Sequence[Sequence[str]], process_set: Any) -> str | None:
    ranks = process_set.ranks or range(len(everyone))
    reference = everyone[0]
    for rank, lines in zip(ranks, everyone, strict=True):
        for i in range(max(len(reference), len(lines))):
            here = reference[i] if i < len(reference) else "missing"
            there = lines[i] if i < len(lines) else "missing"
            if not _same_line(here, there):
                return (
                    f"The ranks build different models. Variable {i} is {here} on rank {ranks[0]}, and {there} on rank "
                    f"{rank} ({len(reference)} and {len(lines)} variables in all). Gradients are averaged by position, "
                    "so every rank must build the same layers, of the same sizes, in the same order."
                ).replace("\t", " ")
    return None


def _with_names_of_places(contents: Sequence[str]) -> list[str]:
    split = [line.partition("\t") for line in contents]
    names = _without_running_numbers([name for name, *_ in split])
    return [f"{name}\t{rest}" for name, (_, _, rest) in zip(names, split, strict=True)]


def _first_other_content(everyone: Sequence[Sequence[str]], process_set: Any) -> str | None:
    """The first layer that holds other values than rank 0's, and the ranks where it does."""
    ranks = list(process_set.ranks or range(len(everyone)))
    reference = everyone[0]
    for i in range(max(map(len, everyone))):
        held = [lines[i] if i < len(lines) else "no such layer\t\t\t" for lines in everyone]
        others = [rank for rank, line in zip(ranks, held, strict=True) if line != held[0]]
        if others:
            name, kind, _, _ = (reference[i] if i < len(reference) else held[ranks.index(others[0])]).split("\t")
            here, there = held[0].split("\t")[2], held[ranks.index(others[0])].split("\t")[2]
            return (
                f"The layer {name} ({kind}) holds other values on ranks {others} than on rank {ranks[0]}: {there!r}, and "
                f"{here!r} on rank {ranks[0]}. They are no variables, so no broadcast hands them over. Adapt the layer to "
                "the same rows on every rank, or give every rank the root's: hvd.broadcast_object(layer.get_vocabulary(), 0)."
            )
    return None


def _same_line(here: str, there: str) -> bool:
    """Whether two lines tell of the same variable.

    The names need not be equal: a model that was loaded, or built at its first step, leaves the model's own name out of
    its variables' paths ("dense/kernel", "sequential/dense/kernel"), and an optimizer's slots are called after them
    ("adam/dense_1_kernel_momentum").
    """
    if here == there:
        return True
    (name, _, rest), (other, _, other_rest) = here.partition("\t"), there.partition("\t")
    if rest != other_rest:
        return False
    parts, others = name.split("/"), other.split("/")
    if _one_within_the_other(parts, others):
        return True
    words, other_words = ([w for w in p[-1].split("_") if not w.isdigit()] for p in (parts, others))
    is_slot = len(parts) == len(others) > 1 and parts[-1] != others[-1]
    return is_slot and parts[:-1] == others[:-1] and _one_within_the_other(words, other_words)


def _one_within_the_other(a: Sequence[str], b: Sequence[str]) -> bool:
    short, rest = (a, iter(b)) if len(a) <= len(b) else (b, iter(a))
    return all(word in rest for word in short)  # `in` moves the iterator on: the order counts
