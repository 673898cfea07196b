"""The texts of a table whose parts were read one by one, each with codes of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hvd_train.data.categories.codes import too_many
from hvd_train.data.parts.rows import Part
from hvd_train.data.schema import Columns
from hvd_train.data.sources.arrow import ArrowTable


def all_texts(table: ArrowTable, columns: Columns, parts: Sequence[Part]) -> dict[int, tuple[str, ...]]:
    """By position among the features: the texts of all parts, in their own order. Raises DataError where they are too many."""
    found: dict[int, tuple[str, ...]] = {}
    num_characters = 0
    for position, column in enumerate(columns.features):
        if position in parts[0].texts:
            found[position] = tuple(sorted({text for part in parts for text in part.texts[position]}))
            num_characters += sum(map(len, found[position]))
            if error := too_many(table, column, len(found[position]), num_characters):
                raise error
    return found


def codes_among(texts: Mapping[int, tuple[str, ...]], part: Part) -> dict[int, NDArray[np.int64]]:
    """By position: the code among all texts of each of the part's own codes."""
    return {i: np.searchsorted(np.array(texts[i], object), np.array(own, object)) for i, own in part.texts.items()}
