"""The header of a .ts file: lines `@tag value` before `@data`, in any case of letters, and comments that begin with #."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hvd_train.errors import DataError

_BOOLEANS = {"true": True, "false": False}
_FLAGS = ("timestamps", "missing", "univariate", "equallength", "targetlabel")
_NUMBERS = {"dimensions": "dimensions", "dimension": "dimensions", "serieslength": "serieslength"}
_BEGINNING = re.compile(
    r"\ufeff?(?:[ \t]*(?:#.*)?\r?\n)*[ \t]*@(?:problemname|timestamps|missing|univariate|dimensions?|equallength|serieslength|"
    r"classlabel|targetlabel)\b",
    re.I,
)
_WAY_OUT = "Is this a .ts file of sktime or aeon?"


@dataclass(frozen=True)
class Header:
    """What the header says. None: it does not."""

    has_timestamps: bool = False
    is_univariate: bool | None = None
    num_channels: int | None = None
    """Of @dimensions."""
    is_equal_length: bool | None = None
    classes: tuple[str, ...] | None = None
    """Names after `@classLabel true`; empty where it lists none; None where series have no class."""
    has_target: bool = False
    """Whether each series ends in a number to predict (@targetLabel)."""
    length: int | None = None
    """Of @seriesLength: that of each series where all are equally long."""
    unknown: tuple[str, ...] = ()
    """Tags that mean nothing here."""

    @property
    def has_label(self) -> bool:
        return self.classes is not None or self.has_target


def looks_like_ts(beginning: bytes) -> bool:
    """Whether a file begins with one of the tags of a .ts file, after comments."""
    return bool(_BEGINNING.match(beginning.decode("utf-8", "replace")))


def read_header(path: Path, lines: Iterable[tuple[int, str]]) -> Header:
    """The header, from (number, text) of the file's lines; `lines` is left behind the line of @data. Raises DataError."""
    found: dict[str, object] = {}
    classes: tuple[str, ...] | None = None
    unknown: list[str] = []
    for number, line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        words = text.split()
        tag = words[0].lower().removeprefix("@")
        if not text.startswith("@"):
            raise DataError(f"{path}, line {number}: {text[:40]!r} stands before the line @data. {_WAY_OUT}")
        if tag == "data":
            return _checked(path, found, classes, tuple(unknown))
        if tag in found:
            raise DataError(f"{path}, line {number}: {words[0]} stands there twice. Leave one of them out.")
        if tag == "classlabel":
            is_there = _boolean(path, number, words)
            found[tag], classes = is_there, tuple(words[2:]) if is_there else None
        elif tag in _FLAGS:
            found[tag] = _boolean(path, number, words)
        elif tag in _NUMBERS:
            found[_NUMBERS[tag]] = _number(path, number, words)
        elif tag != "problemname":
            unknown.append(words[0][:40])
    raise DataError(f"{path}: there is no line @data, after which the series stand. {_WAY_OUT}")


def _checked(path: Path, found: dict[str, object], classes: tuple[str, ...] | None, unknown: tuple[str, ...]) -> Header:
    header = Header(
        has_timestamps=bool(found.get("timestamps")),
        is_univariate=found.get("univariate"),  # type: ignore[arg-type]
        num_channels=found.get("dimensions"),  # type: ignore[arg-type]
        is_equal_length=found.get("equallength"),  # type: ignore[arg-type]
        classes=classes,
        has_target=bool(found.get("targetlabel")),
        length=found.get("serieslength"),  # type: ignore[arg-type]
        unknown=unknown,
    )
    if header.classes is not None and header.has_target:
        raise DataError(
            f"{path}: @classLabel and @targetLabel are both true. A series has one label: correct one of them."
        )
    if header.is_univariate and header.num_channels not in (None, 1):
        raise DataError(f"{path}: @univariate is true, but @dimensions is {header.num_channels}. Correct one of them.")
    return header


def _boolean(path: Path, number: int, words: list[str]) -> bool:
    if len(words) < 2 or words[1].lower() not in _BOOLEANS:
        raise DataError(f"{path}, line {number}: {words[0]} is true or false, not {' '.join(words[1:])[:40]!r}.")
    return _BOOLEANS[words[1].lower()]


def _number(path: Path, number: int, words: list[str]) -> int:
    text = words[1] if len(words) == 2 else " ".join(words[1:])
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:10]) < 1 << 31):
        raise DataError(f"{path}, line {number}: {words[0]} is a whole number from 1 on, not {text[:40]!r}.")
    return int(text)
