"""TableConfig: which table, and how it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro.conf

from hvd_train.config.layout import parse_layout
from hvd_train.config.section import Section, require
from hvd_train.config.text_options import broken_rules


@dataclass(frozen=True, kw_only=True)
class TableConfig(Section):
    """Which table, and how to read it."""

    path: Annotated[Path | None, tyro.conf.arg(name="data", metavar="PATH")] = None
    """A table (CSV) or a dataset directory made by `hvd-train data convert`. Without it: the embedded synthetic songs."""
    label: str | None = None
    """The column to predict: its name, or its number counted from 1. By default `year`, or else the first column."""
    label_kind: Literal["auto", "years", "integers", "classes", "values"] = "auto"
    """What the label is: years and integers keep their order and distances, classes are names, values are regression."""
    drop: tuple[str, ...] = ()
    """Columns to leave out, by name or number."""
    features: tuple[str, ...] = ()
    """Columns to use, by name or number. By default all but the label and the dropped ones."""
    layout: str | None = None
    """POSITIONSxCHANNELS of a row as the network sees it: 90x1, or 64x3 for columns that hold channel after channel. By default one channel."""
    header: Literal["auto", "yes", "no"] = "auto"
    """Whether the table's first line holds names. auto: it does when most of its cells are not numbers."""
    delimiter: str = ","
    """What separates the columns of a text table: a character, tab, or whitespace (runs of blanks; a space is the same)."""
    format: Literal["auto", "csv", "parquet", "libsvm", "npz"] = "auto"
    """What kind of file the table is. auto: by its content and name; csv may be compressed (gz, bz2, xz, zip)."""
    missing: tuple[str, ...] = ()
    """What stands for a missing value, such as NA, ? or -999. An empty cell always does."""
    decimal: Literal[".", ","] = "."
    """The decimal mark of numbers in a text table."""
    thousands: str = ""
    """What groups the digits of numbers in a text table by three: one of . , ' _ or a space. By default nothing does."""
    encoding: str = "auto"
    """How the characters of a text table are coded, such as latin-1 or cp1252. auto: by its byte order mark, or else UTF-8."""
    comment: str = ""
    """Lines of a text table that begin with this, such as #, are left out; one before the rows may name the columns."""
    index_base: Literal["auto", "0", "1"] = "auto"
    """The number of a LIBSVM file's first feature. auto: 0 where a row lists it, or else 1."""
    missing_labels: Literal["error", "drop"] = "error"
    """Rows without a label: an error that names the first, or left out and counted."""
    num_songs: int = 40_000
    """Rows of the embedded synthetic songs, where they are the data."""
    cache_dir: Path | None = None
    """Where converted tables are kept. By default $XDG_CACHE_HOME/hvd_train or ~/.cache/hvd_train."""

    def check(self) -> None:
        for broken in broken_rules(self.delimiter, self.thousands, self.encoding, self.comment):
            require(False, *broken)
        require(self.num_songs >= 1000, "num_songs", self.num_songs, "the synthetic set has at least 1000 songs")
        if self.layout is not None:
            parse_layout(self.layout)
