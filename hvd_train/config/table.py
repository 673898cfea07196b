"""TableConfig: which table, and how it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro.conf

from hvd_train.config.layout import parse_layout
from hvd_train.config.reference import FORM, absolute, is_reference, require_form
from hvd_train.config.section import Section, require
from hvd_train.config.text_options import broken_rules
from hvd_train.errors import ConfigError

TABLE_FORMATS = ("auto", "csv", "parquet", "libsvm", "npz", "ts")
FORMATS_SHOWN = f"{{{','.join(TABLE_FORMATS)}}}|FILE.py:CLASS"


def is_format(text: str) -> bool:
    """Whether this names a built-in format, or is a well-formed reference to a user's own."""
    if not is_reference(text):
        return text in TABLE_FORMATS
    try:
        require_form(text, key="format")
    except ConfigError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class TableConfig(Section):
    """Which table, and how to read it."""

    path: Annotated[Path | None, tyro.conf.arg(name="data", metavar="PATH")] = None
    """The table to train on, or a dataset directory made by `hvd-train data convert`. By default the embedded synthetic songs."""
    test_path: Annotated[Path | None, tyro.conf.arg(name="test-data", metavar="PATH")] = None
    """A table of the same columns whose rows are the test split. The rows of --data are then train and val."""
    label: str | None = None
    """The column to predict, by its name or its number counted from 1. By default `year`, or else the first column."""
    label_kind: Literal["auto", "years", "integers", "classes", "values"] = "auto"
    """What the labels are. years and integers have an order, classes are names, values are real numbers. auto decides by the column."""
    drop: tuple[str, ...] = ()
    """Columns to leave out, by name or number."""
    features: tuple[str, ...] = ()
    """Columns to use, by name or number. By default all but the label and the dropped ones."""
    categories: tuple[str, ...] = ()
    """Columns of numbers that are categories, by name or number, such as postal codes. Columns of texts are by themselves."""
    layout: str | None = None
    """Shape of a row in the network, as POSITIONSxCHANNELS. 64x3 stands for columns that hold one channel after the other. By default there is one channel."""
    header: Literal["auto", "yes", "no"] = "auto"
    """Whether the first line of the table holds names. auto assumes so when most of its cells are not numbers."""
    delimiter: str = ","
    """The character between the columns of a text table, or tab, or whitespace. whitespace, or a space, stands for runs of blanks."""
    format: Annotated[str, tyro.conf.arg(metavar=FORMATS_SHOWN)] = "auto"
    """File format of the table. auto decides by the content and the name. csv may be compressed (gz, bz2, xz, zip). A Table class of your own is path/to/file.py:Class or package.module:Class."""
    missing: tuple[str, ...] = ()
    """Texts that stand for a missing value, such as NA, ? or -999. An empty cell is always a missing value."""
    missing_in_features: Literal["listed", "common"] = "listed"
    """What stands for a missing value in features beside an empty cell. listed: what --missing lists. common: also NA, N/A, NaN, null, none, nil, missing, ?, -, -- and a dot."""
    decimal: Literal[".", ","] = "."
    """The decimal mark in a text table."""
    thousands: str = ""
    """The character that groups digits by three in a text table: one of . , ' _ or a space. By default there is none."""
    encoding: str = "auto"
    """Character encoding of a text table, such as latin-1 or cp1252. auto reads the byte order mark, and assumes UTF-8 without one."""
    comment: str = ""
    """Lines of a text table that begin with this, such as #, are skipped. Such a line before the rows may name the columns."""
    index_base: Literal["auto", "0", "1"] = "auto"
    """Number of the first feature of a LIBSVM file. auto means 0 where a row lists feature 0, or else 1."""
    missing_labels: Literal["error", "drop"] = "error"
    """What to do with rows without a label. error stops at the first one. drop leaves them out and counts them."""
    num_songs: int = 40_000
    """Number of embedded synthetic songs, where they are the data."""
    cache_dir: Path | None = None
    """Directory for converted tables. By default $XDG_CACHE_HOME/hvd_train or ~/.cache/hvd_train."""

    def check(self) -> None:
        if is_reference(self.format):
            require_form(self.format, key="format")
            object.__setattr__(self, "format", absolute(self.format))
        rule = f"it is one of {', '.join(TABLE_FORMATS)}, or a class of your own, written {FORM}"
        require(is_format(self.format), "format", self.format, rule)
        for broken in broken_rules(self.delimiter, self.thousands, self.encoding, self.comment):
            require(False, *broken)
        require(self.num_songs >= 1000, "num_songs", self.num_songs, "the synthetic set has at least 1000 songs")
        if self.layout is not None:
            parse_layout(self.layout)
