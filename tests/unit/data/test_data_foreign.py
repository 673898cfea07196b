"""Files that are not tables are called what they are; LIBSVM is known by its lines."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_helpers import all_rows, converted, new_rows

from hvd_train.errors import DataError

LIBSVM = "".join(f"{i % 2} 1:{i}.5 3:2 # c\n" for i in range(40))


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(6.0).reshape(2, 3))
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("t.csv"), io.BytesIO())
    return buffer.getvalue()


def excel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "")
        archive.writestr("xl/workbook.xml", "")
    return buffer.getvalue()


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "npy": (npy, "a .npy file, which holds one array.* numpy.savez"),
    "arff": (lambda: b"% of mine\n\n@RELATION heat\n@attribute a numeric\n@data\n1\n", "an ARFF file"),
    "json lines": (lambda: b'{"a": 1, "b": 2}\n{"a": 2, "b": 2}\n', "JSON, .*read_json"),
    "json": (lambda: b'[{"a": 1, "b": 2}]', "JSON"),
    "gzip of json": (lambda: gzip.compress(b'{"a": 1}\n'), "JSON"),
    "web page": (lambda: b"\n<!DOCTYPE html><html>", "a web page.* login"),
    "xml": (lambda: b'<?xml version="1.0"?>', "an XML file"),
    "git lfs": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a pointer of Git LFS"),
    "hdf5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file"),
    "pickle": (lambda: pickle.dumps(pd.DataFrame({"a": [1]})), "a pickle, which could run any program"),
    "tar": (tar, "a tar archive"),
    "excel": (excel, "an Excel workbook"),
    "feather": (lambda: b"ARROW1\0\0" + bytes(99), "an Arrow"),
    "sqlite": (lambda: b"SQLite format 3\0" + bytes(99), "an SQLite database"),
    "zstd": (lambda: b"\x28\xb5\x2f\xfd" + bytes(9), "compressed by zstd"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_kinds_are_refused_by_name(name: str, tmp_path: Path) -> None:
    content, says = FILES[name]
    for suffix in (".csv", ".data", ""):
        path = tmp_path / f"t{suffix}"
        path.write_bytes(content())
        with pytest.raises(DataError, match=f"this is {says}"):
            converted(path, tmp_path / "out")


@pytest.mark.parametrize("name", ["heart_scale", "t.txt", "t.svmlight", "t.bz2", "t.svm.gz"])
def test_libsvm_is_known_by_its_lines(name: str, tmp_path: Path) -> None:
    compress = {".bz2": bz2.compress, ".gz": gzip.compress}.get(Path(name).suffix, bytes)
    (tmp_path / name).write_bytes(compress(LIBSVM.encode()))
    dataset = converted(tmp_path / name, tmp_path / "out")
    assert dataset.table_format.format == "libsvm"
    assert all_rows(dataset)[0][3].tolist() == [3.5, 0, 2]
    assert np.array_equal(new_rows(tmp_path / name, dataset)[0], all_rows(dataset)[0])


def test_times_are_not_taken_for_libsvm(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("y,a\n" + "".join(f"{i},{i} # 1:2\n" for i in range(40)))
    with pytest.raises(DataError, match="the column 'a' is unlike a category"):
        converted(tmp_path / "t.csv", tmp_path / "out", label="y")
