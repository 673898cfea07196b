"""Arrays from files, read right or refused: of the type that they must have, and to their last byte."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hvd_train.files.strict import Damaged


def numbers(value: Any, name: str, *, length: int | None = None, kind: Any = np.float64) -> np.ndarray:
    """A JSON list of numbers (bool, int64 or float64 by `kind`) as an array; Damaged where one is of another type."""
    items = value if isinstance(value, list) else [None]
    allowed: set[type] = {bool} if kind is np.bool_ else {int} if kind is np.int64 else {int, float}
    if not set(map(type, items)) <= allowed:
        raise Damaged(f"{name} holds something else than {np.dtype(kind).name} numbers")
    if length is not None and len(items) != length:
        raise Damaged(f"{name} has {len(items)} entries instead of {length}")
    array = np.array(items, kind)
    if not np.isfinite(array).all():
        raise Damaged(f"{name} holds a number that is not finite")
    return array


def parse_npy(data: bytes, *, copy: bool = True) -> np.ndarray:
    """The array of a whole .npy file. ValueError and others where it is not one; nothing may be left over.

    Without `copy` it is read-only, and is the bytes that were given.
    """
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
    flat = np.frombuffer(data, dtype, offset=file.tell())
    return (flat.copy() if copy else flat).reshape(shape, order="F" if fortran_order else "C")


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
