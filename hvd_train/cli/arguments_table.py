"""The flags of `evaluate` and `predict` that say how a table is read, where it is not as the run's own was."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from hvd_train.config import TableConfig


@dataclass(frozen=True, kw_only=True)
class TableFlags:
    """One for each field of `TableFormat`; None (or nothing) is as the run's table was read."""

    format: Literal["auto", "csv", "parquet", "libsvm", "npz"] | None = None
    """What kind of file the table is. By default what it shows by itself, or else as the run's table."""
    delimiter: str | None = None
    """What separates the columns of a text table. By default as in the run's table."""
    header: Literal["auto", "yes", "no"] | None = None
    """Whether the first line holds names. By default it does where it names the run's features, or else as in the run's table."""
    missing: tuple[str, ...] = ()
    """What stands for a missing value besides an empty cell. By default what did in the run's table."""
    decimal: Literal[".", ","] | None = None
    """The decimal mark of a text table. By default as in the run's table."""
    thousands: str | None = None
    """What groups the digits of a text table's numbers. By default as in the run's table."""
    encoding: str | None = None
    """How a text table's characters are coded. By default as in the run's table; a byte order mark says it too."""
    comment: str | None = None
    """Lines of a text table that begin with it are left out. By default as in the run's table."""
    index_base: Literal["auto", "0", "1"] | None = None
    """The number of a LIBSVM file's first feature. By default as in the run's table."""
    missing_labels: Literal["error", "drop"] | None = None
    """What to do with rows that have no label. By default as with the run's table."""

    def __post_init__(self) -> None:
        self.given()

    def given(self) -> dict[str, Any]:
        """The fields that were given, checked as those of `train` are. Raises ConfigError."""
        pairs = {field.name: getattr(self, field.name) for field in fields(self)}
        pairs = {name: value for name, value in pairs.items() if value is not None and value != ()}
        checked = TableConfig(**pairs)
        return {name: getattr(checked, name) for name in pairs}
