"""What a table's columns mean: features, label, and how a row is laid out for the network.

The songs schema is that of YearPredictionMSD (https://archive.ics.uci.edu/dataset/203/yearpredictionmsd): the year, 12
timbre averages, then 78 timbre covariances in the order of `np.diag(covariance, k)` for k = 0 .. 11.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hvd_train.config import SplitConfig, TableConfig, parse_layout
from hvd_train.errors import DataError
from hvd_train.files import strict

LabelKind = Literal["years", "integers", "classes", "values"]

YEARS = range(1800, 2101)
"""Whole numbers in here are taken for years."""
SONG_YEARS = range(1922, 2012)
"""The years of YearPredictionMSD: 90 outputs, although no song is from 1923."""
NUM_SONG_TIMBRES = 12
NUM_SONG_COLUMNS = 91
NUM_SONGS = 515_345
NUM_OFFICIAL_TRAIN_SONGS = 463_715
"""The official split: the first 463,715 songs train, the other 51,630 test; no artist is in both."""

_PAIRS = [(i, i + k) for k in range(NUM_SONG_TIMBRES) for i in range(NUM_SONG_TIMBRES - k)]
SONG_FEATURES = tuple([f"avg_{i + 1}" for i in range(NUM_SONG_TIMBRES)] + [f"cov_{i + 1}_{j + 1}" for i, j in _PAIRS])


@dataclass(frozen=True, kw_only=True)
class TextColumn:
    """A column of texts as columns of 0 and 1: one for each category, then for missing cells, then for all other texts."""

    name: str
    first: int
    """Its first column among the features."""
    categories: tuple[str, ...]
    """In the order of their columns."""
    has_missing: bool
    """Whether missing cells have a column."""
    has_other: bool
    """Whether all other texts share a column. Without it a text that is none of the categories is 0 in every column."""

    @property
    def rest(self) -> tuple[str, ...]:
        """What has a column after the categories."""
        return ("(missing)",) * self.has_missing + ("(other)",) * self.has_other

    @property
    def num_features(self) -> int:
        return len(self.categories) + len(self.rest)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """
        >>> TextColumn(name="hue", first=0, categories=("red",), has_missing=True, has_other=True).feature_names
        ('hue=red', 'hue (missing)', 'hue (other)')
        """
        return (
            *(f"{self.name}={category}" for category in self.categories),
            *(f"{self.name} {what}" for what in self.rest),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"categories": list(self.categories)}


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The meaning of a dataset's columns. Equal schemas take the same models."""

    feature_names: tuple[str, ...]
    """(F,) in the order of the columns of `Rows.features`."""
    label_name: str
    label_kind: LabelKind
    label_values: tuple[int | str, ...]
    """(K,) what each output stands for, in order; empty for values."""
    layout: tuple[int, int]
    """Positions and channels; the columns hold channel after channel."""
    source_columns: tuple[str, ...]
    """All columns of the table it was made from, to find the features again in a table without a header."""
    is_songs: bool = False
    """Whether this is YearPredictionMSD's schema."""
    feature_kinds: tuple[str, ...] = ()
    """(F,) what the cells of each feature were: number, boolean, percent, date or text; empty where all were numbers."""
    text_columns: tuple[TextColumn, ...] = ()
    """The columns of texts, in order. Their features are columns of 0 and 1."""

    @functools.cached_property
    def input_names(self) -> tuple[str, ...]:
        """(S,) the columns of a table that the features are made of, in order. Without texts they are the features."""
        names: list[str] = []
        begin = 0
        for column in self.text_columns:
            names += [*self.feature_names[begin : column.first], column.name]
            begin = column.first + column.num_features
        return (*names, *self.feature_names[begin:])

    @property
    def num_inputs(self) -> int:
        return len(self.input_names)

    @property
    def num_features(self) -> int:
        return len(self.feature_names)

    @property
    def num_outputs(self) -> int:
        """K, or 1 for values."""
        return len(self.label_values) or 1

    def to_json(self) -> dict[str, Any]:
        data = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        if not self.text_columns:  # the checksum of a table of numbers is that of versions that read no texts
            return {key: value for key, value in data.items() if key != "text_columns"}
        return data | {"text_columns": [column.to_json() for column in self.text_columns]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Schema:
        """What `to_json` gave. Raises strict.Damaged."""
        schema: Schema = strict.read(cls, data, "schema")
        values = schema.label_values
        positions, channels = schema.layout
        kind = {"classes": str, "values": type(None)}.get(schema.label_kind, int)
        if not schema.feature_names or positions < 1 or positions * channels != schema.num_features:
            raise strict.Damaged(f"schema.layout {positions} x {channels} is not that of its columns")
        if set(map(type, values)) != ({kind} if kind is not type(None) else set()) or len(set(values)) != len(values):
            raise strict.Damaged(f"schema.label_values are not those of {schema.label_kind}")
        if kind is int and list(values) != sorted(values):
            raise strict.Damaged("schema.label_values are not in their order")
        end = 0
        for column in schema.text_columns:
            names = schema.feature_names[column.first : column.first + column.num_features]
            whole = column.num_features > 0 and column.first >= end and names == column.feature_names
            if not whole or len(set(column.categories)) < len(column.categories):
                raise strict.Damaged(f"schema.text_columns: {column.name!r} is not that of its features")
            end = column.first + column.num_features
        return schema


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are read, by index from 0."""

    names: tuple[str, ...]
    features: tuple[int, ...]
    label: int | None
    key: int | None = None
    """The column that decides the split (column:NAME) or holds the groups (group:NAME)."""
    remarks: tuple[str, ...] = ()
    """What the user should know about the choice."""
    texts: tuple[int, ...] = ()
    """Features that hold texts, whatever their cells look like."""
    finds_texts: bool = False
    """Whether other features may hold texts, too. Without it a text is an error in them."""
    is_label_found: bool = False
    """Whether the label is the first column because nobody named one."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(self.names[i] for i in self.features)


def unnamed_columns(num_columns: int, *, is_songs: bool) -> tuple[str, ...]:
    """Names for the columns of a table without a header."""
    if is_songs:
        return ("year", *SONG_FEATURES)
    return tuple(f"column_{i + 1}" for i in range(num_columns))


def column_number(names: Sequence[str], wanted: str) -> int | None:
    """The index of the column that `wanted` is the number of, from 1, or from -1 for the last; None if of none."""
    digits = wanted.removeprefix("-")
    if digits.isascii() and digits.isdecimal() and len(digits) < 10 and 1 <= int(digits) <= len(names):
        return int(wanted) - 1 if digits == wanted else len(names) - int(digits)
    return None


def find_column(names: Sequence[str], wanted: str, *, what: str, path: object) -> int:
    """The index of a column given by name, or by its number: from 1, or from -1 for the last. Raises DataError."""
    if names.count(wanted) == 1:
        return names.index(wanted)
    number = column_number(names, wanted)
    if number is not None:
        return number
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    several = " One column at a time can be that." if set(re.split(r"[,; ]+", wanted)) <= set(names) else ""
    raise DataError(
        f"{path}: there is no column {wanted!r} for {what}. The table has {len(names)} columns: {shown}. "
        f"Give a name, or a number counted from 1 (-1 is the last).{several}"
    )


def choose_columns(
    names: tuple[str, ...],
    config: TableConfig,
    split: SplitConfig,
    *,
    path: object,
    index: tuple[int, ...] = (),
    finds_texts: bool = False,
    key: int | None = None,
) -> Columns:
    """Label, features and key column of a table with these columns, as `config` and `split` say. Raises DataError.

    The columns in `index` number or name the rows: they are taken only where they are asked for. `finds_texts`: see `Columns`.
    `key`: see `Table.find_key`.
    """
    remarks: dict[str, None] = {}

    def find(wanted: str, what: str) -> int:
        found = find_column(names, wanted, what=what, path=path)
        position = column_number(names, wanted)
        if position not in (found, None):
            remarks[
                f"{what}: {wanted} is taken for the column with that name, number {found + 1}, and not for column "
                f"{position + 1}, whose name is {names[position]!r}"
            ] = None
        return found

    label = find(config.label, "the label") if config.label is not None else _label(names, index)
    method, _, key_name = split.method.partition(":")
    if key is None and key_name:
        key = find(key_name, f"the split by {method}")
    dropped = {find(d, "--drop") for d in config.drop} | {label, key}
    if config.features:
        features = [find(f, "--features") for f in config.features]
        taken = [names[i] for i in features if i in dropped]
        if taken:
            raise DataError(
                f"{path}: column {taken[0]!r} is a feature and also the label, the split's or a dropped one."
            )
        if len(set(features)) < len(features):
            raise DataError(f"{path}: --features names a column twice.")
    else:
        features = [i for i in range(len(names)) if i not in dropped and i not in index]
        left_out = [repr(names[i]) for i in index if i not in dropped]
        if left_out:
            remarks[
                f"left out, since they are the index of a data frame: {', '.join(left_out)} (or name --features)"
            ] = None
    if not features:
        raise DataError(f"{path}: no column is left for the features: the table has {len(names)}, one is the label.")
    texts = [find(c, "--categories") for c in config.categories]
    if no_features := [names[i] for i in texts if i not in features]:
        raise DataError(
            f"{path}: --categories names {no_features[0]!r}, which is no feature: it is the label, the split's or left out."
        )
    is_found = config.label is None and names[label].strip().lower() != "year"
    return Columns(
        names,
        tuple(features),
        label,
        key,
        tuple(remarks),
        tuple(sorted(set(texts))),
        finds_texts,
        is_label_found=is_found,
    )


def choose_layout(
    num_features: int, config: TableConfig, *, path: object, known: tuple[int, int] | None = None
) -> tuple[int, int]:
    """Positions and channels of a row: as asked, or as `known` by the table, or else one channel.

    Raises DataError where they don't fit the features.
    """
    layout = known if known is not None else (num_features, 1)
    if config.layout is not None:
        layout = parse_layout(config.layout)
    if layout[0] * layout[1] != num_features:
        way_out = "" if config.layout is not None else " Give --layout for those that are left."
        raise DataError(
            f"{path}: a layout of {layout[0]}x{layout[1]} needs {layout[0] * layout[1]} features, "
            f"but there are {num_features}.{way_out}"
        )
    return layout


def _label(names: tuple[str, ...], index: tuple[int, ...]) -> int:
    lowered = [name.strip().lower() for name in names]
    return lowered.index("year") if "year" in lowered else next((i for i in range(len(names)) if i not in index), 0)
