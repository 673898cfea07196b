"""Files that are read right or refused: JSON against the types that it must have. Arrays are in `strict_arrays`.

    note = strict.read(Note, strict.loads(text), "note")

Whatever a reader of these raises means that the file is damaged; `damage` puts that into one message. A reader wraps
its pure reading, and nothing else, in `except Exception`. numpy is not needed: the configuration is read before its threads start.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import types
import typing
from pathlib import Path
from typing import Any, Literal, Union

from hvd_train.text import one_line

# An error of a library can quote the whole file.
LONGEST_REASON = 200
_PLAIN = (int, float, str, bool)


class Damaged(ValueError):
    """A part of a file is not what was written. The message names the part."""


def damage(path: Path, error: Exception, way_out: str) -> str:
    """One sentence on a file that cannot be read, and what to do. The same on every rank."""
    return f"{path}: this file is damaged ({reason(error)}). {way_out}"


def reason(error: Exception) -> str:
    """What a reader raised, in a line of at most LONGEST_REASON characters."""
    if isinstance(error, MemoryError):
        raise error  # sizes are checked before they are used: this machine is short of memory
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, Damaged | OSError):
        text = f"{type(error).__name__}: {text}"
    return one_line(text[:LONGEST_REASON])


def loads(text: str | bytes) -> Any:
    """JSON without NaN and infinities, or ValueError."""

    def refuse(constant: str) -> None:
        raise Damaged(f"{constant} stands in it")

    return json.loads(text, parse_constant=refuse)


def digest(document: dict[str, Any], *, without: tuple[str, ...] = ()) -> str:
    """sha256 over what a JSON document says, whatever the order and the spaces that it is written with."""
    content = {key: value for key, value in document.items() if key not in without}
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def read(kind: Any, value: Any, name: str, *, finite: bool = True) -> Any:
    """`value`, as it came from JSON, as the type `kind`; Damaged naming the part that is not of its type.

    Understood are plain types, Any, Literal, unions, list, tuple, dict[str, ...], dataclasses and TypedDicts, whose keys
    must be known and complete. `finite`: floats are numbers.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _read_union(arguments, value, name, finite)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
        raise Damaged(f"{name} is none of {', '.join(map(repr, arguments))}")
    if origin in (list, tuple):
        return _read_sequence(origin, arguments, value, name, finite)
    if origin is dict:
        pairs = _of(dict, value, name).items()
        return {key: read(arguments[1], item, f"{name}.{key}", finite=finite) for key, item in pairs}
    if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
        return _read_fields(kind, value, name, finite)
    return _of(kind, value, name, finite)


def _read_union(choices: tuple[Any, ...], value: Any, name: str, finite: bool) -> Any:
    if value is None and type(None) in choices:
        return None
    problems = []
    for choice in choices:
        if choice is not type(None):
            try:
                return read(choice, value, name, finite=finite)
            except Damaged as error:
                problems.append(error)
    raise problems[0]


def _read_sequence(origin: Any, arguments: tuple[Any, ...], value: Any, name: str, finite: bool) -> Any:
    items = _of(list, value, name)
    if origin is tuple and (len(arguments) != 2 or arguments[1] is not ...):
        if len(items) != len(arguments):
            raise Damaged(f"{name} has {len(items)} entries instead of {len(arguments)}")
        kinds = arguments
    else:
        kind = arguments[0]
        if kind in _PLAIN and not items:
            return origin()
        # Long lists of numbers are common: their types are looked at all at once.
        if set(map(type, items)) <= ({int} if kind is int else {str} if kind is str else set()):
            return origin(items)
        kinds = (kind,) * len(items)
    pairs = enumerate(zip(kinds, items, strict=True))
    return origin(read(kind, item, f"{name}[{i}]", finite=finite) for i, (kind, item) in pairs)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _read_fields(kind: Any, value: Any, name: str, finite: bool) -> Any:
    mapping = _of(dict, value, name)
    hints = _hints(kind)
    if typing.is_typeddict(kind):
        needed = kind.__required_keys__
    else:
        fields = dataclasses.fields(kind)
        plain = (f for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING)
        needed = {f.name for f in plain}
    for key in mapping.keys() - hints.keys():
        raise Damaged(f"{name} has an unknown entry {key!r}")
    for key in needed - mapping.keys():
        raise Damaged(f"{name} has no {key!r}")
    # In the order of the type, so that the first problem is the same one everywhere.
    known = (key for key in hints if key in mapping)
    return kind(**{key: read(hints[key], mapping[key], f"{name}.{key}", finite=finite) for key in known})


def _of(kind: Any, value: Any, name: str, finite: bool = True) -> Any:
    if kind is float and type(value) is int and abs(value) < 2**1000:
        return value  # as it was written: the epoch among figures stays whole
    if type(value) is not kind:
        raise Damaged(f"{name} should be {kind.__name__}, and is {type(value).__name__}")
    if kind is float and finite and not math.isfinite(value):
        raise Damaged(f"{name} is not a finite number")
    return value
