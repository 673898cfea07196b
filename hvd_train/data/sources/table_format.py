"""How a table is read: as the user said, or as was found out when it was read for training.

`TableFormat.of(config)` is what the user said; `Table.table_format` is what was found out (a header, the base
of LIBSVM's indices). The latter is kept in metadata.json and in a run's data.json, so that `evaluate` and `predict`
read new rows as `train` read its own. To add a way of reading: a field here, the same in `TableConfig`, the same without
a default in `hvd_train.cli.table_flags.TableFlags`, and the source that heeds it.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hvd_train.config import TableConfig, is_format, is_reference
from hvd_train.files import Damaged


@dataclass(frozen=True, kw_only=True)
class TableFormat:
    """The fields of the same names in `TableConfig`, which say what they mean."""

    format: str = "auto"
    delimiter: str = ","
    header: str = "auto"
    missing: tuple[str, ...] = ()
    missing_in_features: str = "listed"
    decimal: str = "."
    thousands: str = ""
    encoding: str = "auto"
    comment: str = ""
    index_base: str = "auto"
    """Of LIBSVM: "0" or "1"."""
    missing_labels: str = "error"

    @classmethod
    def of(cls, config: TableConfig) -> TableFormat:
        """What the user said."""
        return cls(**{name: getattr(config, name) for name in FIELDS})

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TableFormat:
        """What `to_json` gave; a field that was not known then has its default. Raises strict.Damaged."""
        if not isinstance(data, dict):
            raise Damaged("how the table was read is not known")
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        for name, value in fields.items():
            if not _is_possible(name, value):
                raise Damaged(f"how the table was read is not known here: {name} = {value!r}")
        return cls(**fields)

    def idle(self, names: Iterable[str]) -> str | None:
        """What to tell where some of these fields say nothing about a file of this format."""
        if is_reference(self.format):  # a user's class reads the file as it likes
            return None
        heeded = {"format", "missing", "missing_in_features", "missing_labels", *_HEEDED.get(self.format, ())}
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in FIELDS if name in names and name not in heeded)
        return f"without effect on a table in the format {self.format}: {flags}" if flags else None

    def changed(self) -> list[str]:
        """The fields that are not as they are by default."""
        return [name for name in FIELDS if getattr(self, name) != getattr(TableFormat(), name)]

    def but(self, given: Mapping[str, Any]) -> TableFormat:
        """This with other values of some fields."""
        return dataclasses.replace(self, **given)


@functools.cache
def _hints() -> dict[str, Any]:
    """The types of the fields. Python evaluates every annotation again on each call of get_type_hints."""
    return typing.get_type_hints(TableConfig)


def _is_possible(name: str, value: Any) -> bool:
    if name == "format":
        return isinstance(value, str) and is_format(value)
    default = getattr(TableFormat(), name, None)
    if default is None or not isinstance(value, type(default)) or not all(isinstance(item, str) for item in value):
        return False
    kind = _hints()[name]
    return typing.get_origin(kind) is not typing.Literal or value in typing.get_args(kind)


_HEEDED = {
    "csv": ("delimiter", "header", "decimal", "thousands", "encoding", "comment"),
    "libsvm": ("index_base",),
    "ts": ("encoding",),
}
FIELDS = tuple(field.name for field in dataclasses.fields(TableFormat))
