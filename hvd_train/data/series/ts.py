"""The .ts files of sktime and aeon: a header, then a line for each series, `1,2,3:4,5,6:label`, channel after channel.

Series may have unequal lengths. All are padded at their end to the longest of the file by missing values, so what is
missing at the end of a series and its padding are the same. The longest is known only at the end, so the file is read twice.
https://www.aeon-toolkit.org/en/stable/api_reference/file_specifications/ts.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hvd_train.data.conversion.exactness import extremes_of
from hvd_train.data.schema import Columns
from hvd_train.data.series.header import Header, read_header
from hvd_train.data.sources.base import Chunk, LineTable
from hvd_train.data.sources.careful import FLOAT32_MAX, text_lines
from hvd_train.data.sources.missing import parsed_number
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.data.sources.text_stream import TextForm, found_encoding
from hvd_train.errors import DataError

MAX_VALUES = 1_000_000
"""Of one series: rows are stored dense."""
_BLOCK_CELLS = 1 << 20
_MISSING = ("?", "nan")


class TsTable(LineTable):
    """Column 1 is the label where there is one. Then come the positions of channel 1, of channel 2, and so on."""

    is_series = True

    def __init__(self, path: Path, table_format: TableFormat) -> None:
        super().__init__(path, table_format)
        self._form = TextForm(encoding=found_encoding(path, table_format.encoding))
        self._header, channels, length = self._surveyed()
        self._offset = 1 if self._header.has_label else 0
        self.layout = (length, channels)
        self._name_columns()
        if self._header.has_timestamps:
            self.remarks += ("the time stamps of the series are not used: the values are taken in their order",)
        if self._header.unknown:
            self.remarks += (f"tags of the header without a meaning here: {', '.join(self._header.unknown)}",)

    @property
    def is_label_first(self) -> bool:
        return self._header.has_label

    @property
    def label_kind(self) -> str | None:
        if self._header.classes is not None:
            return "classes"
        return "values" if self._header.has_target else None

    def require_labels(self) -> None:
        if not self._offset:
            raise DataError(
                f"{self.path}: the series have no labels: @classLabel and @targetLabel are false. A model is trained on "
                "series with labels."
            )

    def pad(self, layout: tuple[int, int]) -> None:
        assert self.layout is not None
        if layout[1] == self.layout[1] and layout[0] > self.layout[0]:
            self.layout = layout
            self._name_columns()

    def chunks(self, columns: Columns) -> Iterator[Chunk]:
        if columns.label is not None:
            self.require_labels()
        if columns.key is not None or columns.label not in (0, None) or (self._offset and 0 in columns.features):
            raise DataError(
                f"{self.path}: in a .ts file the label stands at the end of each line: leave --label out. Give the test "
                "series by --test-data."
            )
        assert self.layout is not None
        picked = np.array(columns.features) - self._offset
        length, channels = self.layout
        num_rows = max(1, _BLOCK_CELLS // (length * channels))
        block = np.full((num_rows, channels, length), np.nan)
        labels: list[Any] = []
        for line, position, parts in self.lines():
            cells = self._cells(line, parts)
            for channel, part in enumerate(parts[:channels]):
                values = self._values(part, line, channel)
                block[len(labels), channel, : len(values)] = values
            labels.append(cells)
            self._bytes_read = position
            if len(labels) == num_rows:
                yield self._chunk(block, labels, columns, picked)
                block[:] = np.nan
                labels.clear()
        if labels:
            yield self._chunk(block[: len(labels)], labels, columns, picked)

    def _chunk(self, block: NDArray[np.float64], labels: list[Any], columns: Columns, picked: Any) -> Chunk:
        matrix = block.reshape(len(block), -1)[:, picked]
        found: Any = None
        if columns.label is not None:
            found = pa.array(labels, pa.string()) if self._header.classes is not None else np.array(labels, np.float64)
        return Chunk(matrix.astype(np.float32, order="C"), found, extremes=extremes_of(matrix))

    def _name_columns(self) -> None:
        assert self.layout is not None
        length, channels = self.layout
        names = [f"channel_{c + 1}_{t + 1}" for c in range(channels) for t in range(length)]
        self.columns = (*(["label"] if self._offset else []), *names)

    def _surveyed(self) -> tuple[Header, int, int]:
        """The header, the number of channels and the length of the longest series."""
        lines = text_lines(self.path, self._form)
        header = read_header(self.path, ((number, text) for number, _, text in lines))
        self._header = header
        channels, longest, first = header.num_channels or (1 if header.is_univariate else None), 0, 0
        for line, _, parts in self.lines():
            values = parts[: len(parts) - header.has_label]
            if channels is None:
                channels = len(values)
            if len(values) != channels or not values:
                raise self._wrong_number(line, len(values), channels)
            lengths = [_count(part, header.has_timestamps) for part in values]
            if not longest:
                longest, first = max(lengths), line
            if header.is_equal_length and header.length is not None:
                self._require_length(lengths, header.length, line, "@seriesLength says")
            elif header.is_equal_length:
                self._require_length(lengths, longest, line, f"line {first} has")
            longest = max(longest, *lengths)
            if longest * channels > MAX_VALUES:
                raise DataError(
                    f"{self.path}, line {line}: series of {longest:,} positions x {channels} channels are longer than the "
                    f"{MAX_VALUES:,} values that a row may have. Make them coarser, or cut them."
                )
        if channels is None:
            raise DataError(f"{self.path}: the file holds no rows.")
        if not longest:
            raise DataError(f"{self.path}: no series has a value.")
        return header, channels, longest

    def _require_length(self, lengths: list[int], expected: int, line: int, who: str) -> None:
        for channel, length in enumerate(lengths):
            if length != expected:
                raise DataError(
                    f"{self.path}, line {line}: channel {channel + 1} has {length} positions, but {who} {expected}, and "
                    "@equalLength is true. Say @equalLength false, or correct the line."
                )

    def _wrong_number(self, line: int, found: int, expected: int | None) -> DataError:
        labels = ", then a label" if self._header.has_label else ""
        return DataError(
            f"{self.path}, line {line}: there are {found} channels, but {expected or 'at least 1'} are expected, written "
            f"1,2,3:4,5,6{labels}. Correct the line, or @dimensions and @classLabel in the header."
        )

    def lines(self) -> Iterator[tuple[int, int, list[str]]]:
        """(line from 1, bytes read, parts between the colons) of the lines after @data that hold a series."""
        lines = text_lines(self.path, self._form)
        read_header(self.path, ((number, text) for number, _, text in lines))
        for line, position, text in lines:
            content = text.strip()
            if content and not content.startswith("#"):
                yield line, position, _parts(content, self._header.has_timestamps)

    def _cells(self, line: int, parts: list[str]) -> Any:
        """The label of a line; None where it is missing or the file has none."""
        if not self._offset:
            return None
        text = parts[-1].strip()
        if self.missing.is_text(text) or text == "?":
            return None if self._header.classes is not None else math.nan
        if self._header.classes is None:
            value = parsed_number(text)
            if not abs(value) <= FLOAT32_MAX:
                raise DataError(
                    f"{self.path}, line {line}: the label {text[:40]!r} is no number that a 32-bit float holds."
                )
            return value
        if self._header.classes and text not in self._header.classes:
            raise DataError(
                f"{self.path}, line {line}: the label {text[:40]!r} is none of the {len(self._header.classes)} classes "
                "after @classLabel. Add it there, or correct the line."
            )
        return text

    def _values(self, part: str, line: int, channel: int) -> NDArray[np.float64]:
        """The values of one channel, NaN where one is missing."""
        texts = _values_of_pairs(part) if self._header.has_timestamps else part.split(",") if part.strip() else []
        try:
            values = np.array(texts, np.float64) if not self.table_format.missing else None
        except ValueError:
            values = None
        if values is not None and "_" not in part and bool((np.abs(values) <= FLOAT32_MAX).all()):
            return values
        return np.array([self._value(text, line, channel, at) for at, text in enumerate(texts)], np.float64)

    def _value(self, text: str, line: int, channel: int, at: int) -> float:
        stripped = text.strip()
        if self.missing.is_text(stripped) or stripped.lower() in _MISSING:
            return math.nan
        value = parsed_number(stripped)
        if not abs(value) <= FLOAT32_MAX:
            raise DataError(
                f"{self.path}, line {line}, channel {channel + 1}, position {at + 1}: {stripped[:40]!r} is no number that a "
                "32-bit float holds. A missing value is written ? or NaN."
            )
        return value


def _parts(content: str, has_timestamps: bool) -> list[str]:
    """What stands between the colons; those within the parentheses of a time stamp are no borders.

    >>> _parts("(10:30,1),(10:31,2):up", True)
    ['(10:30,1),(10:31,2)', 'up']
    """
    if not has_timestamps:
        return content.split(":")
    parts, depth, start = [], 0, 0
    for at, char in enumerate(content):
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == ":" and depth == 0:
            parts.append(content[start:at])
            start = at + 1
    return [*parts, content[start:]]


def _values_of_pairs(part: str) -> list[str]:
    """The values of `(time,value),(time,value)`; a time may hold commas."""
    pairs = (pair.strip().strip("()") for pair in part.replace(") ,", "),").split("),") if pair.strip())
    return [pair.rpartition(",")[2] for pair in pairs]


def _count(part: str, has_timestamps: bool) -> int:
    """How many values a channel has."""
    if has_timestamps:
        return len(_values_of_pairs(part))
    return part.count(",") + 1 if part.strip() else 0
