"""The flags of `evaluate` and `predict` for a table that is written in another way than the table of the run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import tyro.conf

from hvd_train.config import FORMATS_SHOWN, TableConfig


@dataclass(frozen=True, kw_only=True)
class TableFlags:
    """How to read the table. By default as `train` read the table of the run. There is one flag for each field of `TableFormat`."""

    format: Annotated[str | None, tyro.conf.arg(metavar=FORMATS_SHOWN)] = None
    """File format of the table, or a Table class of your own. By default its content decides, or else the format of the table of the run."""
    delimiter: str | None = None
    """The character between the columns of a text table."""
    header: Literal["auto", "yes", "no"] | None = None
    """Whether the first line holds names. By default it does where it names the features of the run."""
    missing: tuple[str, ...] = ()
    """Texts that stand for a missing value, besides an empty cell."""
    missing_in_features: Literal["listed", "common"] | None = None
    """What stands for a missing value in features beside an empty cell: what --missing lists, or also NA, ?, null and their like."""
    decimal: Literal[".", ","] | None = None
    """The decimal mark in a text table."""
    thousands: str | None = None
    """The character that groups digits by three in a text table."""
    encoding: str | None = None
    """Character encoding of a text table. A byte order mark takes precedence over the encoding of the run."""
    comment: str | None = None
    """Lines of a text table that begin with this are skipped."""
    index_base: Literal["auto", "0", "1"] | None = None
    """Number of the first feature of a LIBSVM file."""
    missing_labels: Literal["error", "drop"] | None = None
    """What to do with rows without a label."""

    def __post_init__(self) -> None:
        self.given()

    def given(self) -> dict[str, Any]:
        """The fields that were given, checked as those of `train` are. Raises ConfigError."""
        pairs = {field.name: getattr(self, field.name) for field in fields(self)}
        pairs = {name: value for name, value in pairs.items() if value is not None and value != ()}
        checked = TableConfig(**pairs)
        return {name: getattr(checked, name) for name in pairs}
