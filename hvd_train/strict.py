"""Files that are read right or refused: JSON against the types that it must have, arrays to their last byte.

    note = strict.read(Note, strict.loads(text), "note")

Whatever a reader of these raises means that the file is damaged; `damage` puts that into one message. A reader wraps
its pure reading, and nothing else, in `except Exception`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import types
import typing
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal, Union

import numpy as np

from hvd_train.printable import one_line

# An error of a library can quote the whole file.
LONGEST_REASON = 200
_PLAIN = (int, float, str, bool)


class Damaged(ValueError):
    """A part of a file is not what was written. The message names the part."""


def damage(path: Path, error: Exception, way_out: str) -> str:
    """One sentence on a file that cannot be read, and what to do. The same on every rank."""
    if isinstance(error, MemoryError):
        raise error  # sizes are checked before they are used: this machine is short of memory
    reason = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, Damaged | OSError):
        reason = f"{type(error).__name__}: {reason}"
    return f"{path}: this file is damaged ({one_line(reason[:LONGEST_REASON])}). {way_out}"


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


def _read_fields(kind: Any, value: Any, name: str, finite: bool) -> Any:
    mapping = _of(dict, value, name)
    hints = typing.get_type_hints(kind)
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


def numbers(value: Any, name: str, *, length: int | None = None, kind: Any = np.float64) -> np.ndarray:
    """A JSON list of numbers (bool, int64 or float64 by `kind`) as an array; Damaged where one is of another type."""
    items = _of(list, value, name)
    allowed: set[type] = {bool} if kind is np.bool_ else {int} if kind is np.int64 else {int, float}
    if not set(map(type, items)) <= allowed:
        raise Damaged(f"{name} holds something else than {np.dtype(kind).name} numbers")
    if length is not None and len(items) != length:
        raise Damaged(f"{name} has {len(items)} entries instead of {length}")
    array = np.array(items, kind)
    if not np.isfinite(array).all():
        raise Damaged(f"{name} holds a number that is not finite")
    return array


def parse_npy(data: bytes) -> np.ndarray:
    """The array of a whole .npy file. ValueError and others where it is not one; nothing may be left over."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise Damaged(f"its array format is {version}")
    with warnings.catch_warnings():  # the header is parsed as Python, which warns of odd numbers
        warnings.simplefilter("ignore")
        shape, fortran_order, dtype = readers[version](file)
    if dtype.hasobject:
        raise Damaged("it holds objects, not numbers")
    found, expected = len(data) - file.tell(), dtype.itemsize * math.prod(shape)
    if found != expected or min(shape, default=0) < 0:
        raise Damaged(f"its header promises {expected} bytes, and {found} are there")
    flat = np.frombuffer(data, dtype, offset=file.tell()).copy()
    return flat.reshape(shape, order="F" if fortran_order else "C")


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an uncompressed .npz, each read to its end and compared with its CRC. Raises anything."""
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        size = file.seek(0, io.SEEK_END)
        if sum(info.file_size for info in infos) > size:
            raise Damaged("its members are longer than the file")
        arrays: dict[str, np.ndarray] = {}
        for info in infos:
            name = info.filename.removesuffix(".npy")
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
                raise Damaged(f"{info.filename} is compressed or encrypted")
            if name in arrays or name == info.filename:
                raise Damaged(f"a member is named {info.filename!r}")
            data = archive.read(info)
            if len(data) != info.file_size:
                raise Damaged(f"{info.filename} ends early")
            arrays[name] = parse_npy(data)
    return arrays
