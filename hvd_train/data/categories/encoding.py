"""Encoding: from rows with codes of texts to rows of features. Shape letters: n rows, S columns as read, F features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hvd_train.data.schema import Schema, TextColumn


@dataclass(frozen=True, eq=False)
class Encoding:
    """Which features each column as it was read becomes."""

    num_inputs: int
    texts: Mapping[int, tuple[TextColumn, NDArray[np.int64]]]
    """By position among the S columns: what it becomes, and the feature of each code, from the column's first, or -1 for none.
    The last two entries are for a text that is not known, and for a missing cell."""

    @classmethod
    def of(cls, num_inputs: int, columns: Mapping[int, tuple[TextColumn, Sequence[str]]]) -> Encoding:
        """By position: a column of texts, and the texts in the order of their codes."""
        return cls(
            num_inputs, {position: (column, _places(column, texts)) for position, (column, texts) in columns.items()}
        )

    @classmethod
    def of_schema(cls, schema: Schema) -> Encoding:
        """For rows whose codes are those of the model's categories."""
        positions = text_positions(schema).items()
        return cls.of(schema.num_inputs, {position: (column, column.categories) for position, column in positions})

    @property
    def num_features(self) -> int:
        return self.num_inputs + sum(column.num_features - 1 for column, _ in self.texts.values())

    def apply(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, S) rows as read -> (n, F) features."""
        if not self.texts:
            return rows
        features = np.zeros((len(rows), self.num_features), np.float32)
        numbers = [position for position in range(self.num_inputs) if position not in self.texts]
        features[:, self._first_of(numbers)] = rows[:, numbers]
        for position, (column, places) in self.texts.items():
            codes = rows[:, position]
            missing = np.isnan(codes)
            # -1 stands for the entry of unknown texts, which is the last but one.
            codes = np.where(missing, len(places) - 1, np.where(codes < 0, len(places) - 2, codes)).astype(np.int64)
            place = places[codes]
            found = np.flatnonzero(place >= 0)
            features[found, column.first + place[found]] = 1
        return features

    def spread(self, of_inputs: Sequence[str]) -> tuple[str, ...]:
        """A word for each column as read (S,) -> that word for each of its features (F,)."""
        if not self.texts:
            return tuple(of_inputs)
        counts = [self.texts[i][0].num_features if i in self.texts else 1 for i in range(self.num_inputs)]
        return tuple(value for value, count in zip(of_inputs, counts, strict=True) for _ in range(count))

    def _first_of(self, positions: Sequence[int]) -> list[int]:
        widths = [self.texts[i][0].num_features if i in self.texts else 1 for i in range(self.num_inputs)]
        starts = np.cumsum([0, *widths])
        return [int(starts[position]) for position in positions]


def _places(column: TextColumn, texts: Sequence[str]) -> NDArray[np.int64]:
    """The feature of each text, from the column's first, then those of unknown and missing ones; -1 for none."""
    by_name = {name: place for place, name in enumerate(column.categories)}
    other = column.num_features - 1 if column.has_other else -1
    missing = len(column.categories) if column.has_missing else other
    return np.array([*(by_name.get(text, other) for text in texts), other, missing], np.int64)


def text_positions(schema: Schema) -> dict[int, TextColumn]:
    """The columns of texts by their positions among the columns as read."""
    positions, extra = {}, 0
    for column in schema.text_columns:
        positions[column.first - extra] = column
        extra += column.num_features - 1
    return positions
