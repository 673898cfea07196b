"""Files that are not tables, or are tables of another kind: what they are, by their first bytes, and the way out."""

from __future__ import annotations

import re
from pathlib import Path

from hvd_train.errors import DataError

_SAVE = "Read it with pandas and save it as CSV or Parquet: "
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (
        b"\x93NUMPY",
        "a .npy file, which holds one array",
        "Save the features and the labels in one .npz file: numpy.savez(OUT, features=..., labels=...).",
    ),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _SAVE + "pandas.read_hdf(IN).to_parquet(OUT), or with h5py."),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook", "Save the sheet as CSV."),
    (b"ARROW1\0\0", "an Arrow (Feather) file", _SAVE + "pandas.read_feather(IN).to_parquet(OUT)."),
    (b"\xff\xff\xff\xff\x00\x00", "an Arrow stream", "Save it as Parquet: pyarrow.ipc.open_stream(IN).read_all()."),
    (b"SQLite format 3\0", "an SQLite database", _SAVE + "pandas.read_sql(QUERY, CONNECTION).to_csv(OUT)."),
    (b"Obj\x01", "an Avro file", "Save it as CSV or Parquet."),
    (b"MATLAB 5.0 MAT-file", "a MATLAB file", "Read it with scipy.io.loadmat and save it by numpy.savez."),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "Unpack it first: zstd -d."),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it first."),
    (b"Rar!\x1a\x07", "a RAR archive", "Unpack it first."),
    (b"\x1f\x9d", "compressed by compress", "Unpack it first: uncompress."),
    (b"%PDF-", "a PDF document", "Give a table: CSV, Parquet, LIBSVM, .npz or .ts."),
    (
        b"version https://git-lfs.github.com/spec",
        "a pointer of Git LFS and not the table itself",
        "Get the table: git lfs pull.",
    ),
)
_TEXTS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"\s*<(?:!doctype html|html)", re.I),
        "a web page",
        "Was it the page of a login or of an error that was downloaded? Get the table again.",
    ),
    (re.compile(r"\s*<\?xml", re.I), "an XML file", "Save it as CSV."),
    (
        re.compile(r'\s*(?:\{\s*"|\[\s*[\[{])'),
        "JSON",
        _SAVE + "pandas.read_json(IN, lines=True).to_csv(OUT, index=False) reads JSON lines.",
    ),
    (
        re.compile(r"(?:\s*(?:%.*)?\n)*\s*@relation\s", re.I),
        "an ARFF file (of Weka)",
        _SAVE + "scipy.io.arff.loadarff(IN) reads it. Or remove all up to @data, and give --header no.",
    ),
    (
        re.compile(r"%%MatrixMarket "),
        "a Matrix Market file",
        "Read it with scipy.io.mmread and save it by numpy.savez.",
    ),
)
_TAR = (257, b"ustar")
MAX_LOOK_BYTES = 64 << 10


def refuse_foreign(path: Path, beginning: bytes) -> None:
    """Raise DataError where `beginning`, decompressed, is that of a file which is no table that is read here."""
    for magic, what, way_out in _MAGIC:
        if beginning.startswith(magic):
            raise _foreign(path, what, way_out)
    if re.match(rb"\x80[\x02-\x05][\x80-\xffcX(}\]]", beginning):
        raise _foreign(path, "a pickle, which could run any program", _SAVE + "where it was made.")
    if beginning[_TAR[0] :].startswith(_TAR[1]):
        raise _foreign(path, "a tar archive", "Unpack it first.")
    text = beginning.decode("utf-8", "replace").removeprefix("\ufeff")
    for pattern, what, way_out in _TEXTS:
        if pattern.match(text):
            raise _foreign(path, what, way_out)


def foreign_zip(path: Path, names: list[str]) -> DataError | None:
    """The error for a zip file whose members show that it is a document; None where they do not."""
    if "xl/workbook.xml" in names:
        return _foreign(
            path, "an Excel workbook", "Save the sheet as CSV, or pandas.read_excel(IN).to_csv(OUT, index=False)."
        )
    if {"mimetype", "content.xml"} <= set(names):
        return _foreign(path, "an OpenDocument file", "Save the sheet as CSV.")
    return None


_LIBSVM = re.compile(r"[^\s,;:|]+(?:\s+qid:\d+)?(?:\s+\d+:[^\s:,;|]+)+\s*(?:#.*)?", re.ASCII)


def looks_like_libsvm(beginning: bytes) -> bool:
    """Whether the first lines are written `label index:value ...`, as no CSV is."""
    lines = beginning.decode("utf-8", "replace").removeprefix("\ufeff").splitlines(keepends=True)
    if len(lines) > 1 and not lines[-1].endswith(("\n", "\r")):
        lines.pop()  # cut off
    rows = [line for line in lines if line.split("#")[0].strip()][:10]
    return bool(rows) and all(_LIBSVM.fullmatch(row.strip()) for row in rows)


def _foreign(path: Path, what: str, way_out: str) -> DataError:
    return DataError(f"{path}: this is {what}, which is not read here. {way_out}")
