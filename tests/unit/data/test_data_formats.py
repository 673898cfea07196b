"""Every format converts to what pandas reads, bit for bit in float32; real files load."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_helpers import all_rows, converted, frame
from real_rows import REAL_ROWS, needs_real_rows

from hvd_train.data import TableFormat, read_table_for_prediction
from hvd_train.errors import DataError


def to_csv(path: Path, table: pd.DataFrame, **options: object) -> Path:
    table.to_csv(path, index=False, **options)  # type: ignore[call-overload]
    return path


def compressed(suffix: str, compress: Callable[[bytes], bytes]) -> Callable[[Path, pd.DataFrame], Path]:
    def write(path: Path, table: pd.DataFrame) -> Path:
        target = path.with_suffix(f".csv{suffix}")
        target.write_bytes(compress(table.to_csv(index=False).encode()))
        return target

    return write


def to_zip(path: Path, table: pd.DataFrame) -> Path:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("some/table.csv", table.to_csv(index=False))
    return path.with_suffix(".zip")


def to_parquet(path: Path, table: pd.DataFrame) -> Path:
    table.to_parquet(path.with_suffix(".parquet"), row_group_size=37)
    return path.with_suffix(".parquet")


def to_npz(path: Path, table: pd.DataFrame) -> Path:
    np.savez_compressed(path.with_suffix(".npz"), X=np.ascontiguousarray(table.iloc[:, 1:]), y=table["year"])
    return path.with_suffix(".npz")


def to_fortran_npz(path: Path, table: pd.DataFrame) -> Path:
    features = np.asfortranarray(table.iloc[:, 1:].to_numpy())
    np.savez(path.with_suffix(".npz"), features=features, labels=table["year"])
    return path.with_suffix(".npz")


WRITERS: dict[str, Callable[[Path, pd.DataFrame], Path]] = {
    "csv": to_csv,
    "crlf": lambda path, table: to_csv(path, table, lineterminator="\r\n"),
    "carriage returns": lambda path, table: to_csv(path, table, lineterminator="\r"),
    "byte order mark": lambda path, table: to_csv(path, table, encoding="utf-8-sig"),
    "all quoted": lambda path, table: to_csv(path, table, quoting=1),
    "gz": compressed(".gz", gzip.compress),
    "bz2": compressed(".bz2", bz2.compress),
    "xz": compressed(".xz", lzma.compress),
    "zip": to_zip,
    "parquet": to_parquet,
    "npz": to_npz,
    "fortran npz": to_fortran_npz,
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_read_back_is_the_source_in_float32(name: str, tmp_path: Path) -> None:
    table = frame()
    features, labels = all_rows(converted(WRITERS[name](tmp_path / "table.csv", table), tmp_path / "out"))
    expected = table.iloc[:, 1:].to_numpy().astype(np.float32)
    assert features.tobytes() == expected.tobytes() or np.array_equal(features, expected, equal_nan=True)
    assert np.array_equal(labels, table["year"] - table["year"].min())


def test_libsvm_is_dense_with_zeros(tmp_path: Path) -> None:
    path = tmp_path / "table.libsvm"
    path.write_text("# rows\n" + "".join(f"{i % 3} 2:{i}.5 4:-1e-3 # c\n\n{i % 2}\t1:{i}\n" for i in range(40)))
    dataset = converted(path, tmp_path / "out")
    features, labels = all_rows(dataset)
    assert dataset.schema.feature_names == ("column_2", "column_3", "column_4", "column_5")
    assert features[8].tolist() == [0, 4.5, 0, np.float32(-1e-3)]
    assert features[9].tolist() == [4, 0, 0, 0]
    assert [dataset.schema.label_values[k] for k in labels[:4]] == [0, 0, 1, 1]


def test_libsvm_rows_without_the_last_features_are_predicted(tmp_path: Path) -> None:
    (tmp_path / "t.svm").write_text("".join(f"{i % 2} 1:{i} 3:2\n" for i in range(40)))
    schema = converted(tmp_path / "t.svm", tmp_path / "out").schema
    (tmp_path / "p.svm").write_text("1 1:7\n")
    features, labels, _ = next(read_table_for_prediction(tmp_path / "p.svm", schema, TableFormat()))
    assert features.tolist() == [[7, 0, 0]]
    assert labels is not None
    assert labels.tolist() == [1]


@pytest.mark.parametrize("name", ["gz", "bz2", "xz", "zip", "parquet", "npz"])
def test_flipped_bytes_are_an_error_or_the_right_data(name: str, tmp_path: Path) -> None:
    table = frame(50)
    path = WRITERS[name](tmp_path / "table.csv", table)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for i in range(12):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 1 + i % 3):
            damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            features, _ = all_rows(converted(path, tmp_path / f"out{i}"))
        except DataError as error:
            message = str(error)
        else:
            message = ""
        if not message and name != "parquet":  # whose pages carry no checksum by default
            assert np.array_equal(features, table.iloc[:, 1:].to_numpy().astype(np.float32), equal_nan=True)
        assert not message or str(path) in message


def test_delimiter_header_and_positions(tmp_path: Path) -> None:
    table = frame()
    path = to_csv(tmp_path / "t.txt", table, sep=";", header=False)
    dataset = converted(path, tmp_path / "out", delimiter=";", label="1", drop=("3",), layout="2x2")
    assert dataset.schema.feature_names == ("column_2", "column_4", "column_5", "column_6")
    assert dataset.schema.layout == (2, 2)
    expected = table.drop(columns=["year", "f1"]).to_numpy().astype(np.float32)
    assert np.array_equal(all_rows(dataset)[0], expected)


def test_features_are_taken_in_the_order_they_are_given(tmp_path: Path) -> None:
    table = frame()
    dataset = converted(to_csv(tmp_path / "t.csv", table), tmp_path / "out", features=("f4", "f0"))
    assert np.array_equal(all_rows(dataset)[0], table[["f4", "f0"]].to_numpy().astype(np.float32))


def test_a_header_of_numbers_is_one_when_asked(tmp_path: Path) -> None:
    table = frame().rename(columns=lambda c: str(1000 + list(frame()).index(c)))
    path = to_csv(tmp_path / "t.csv", table)
    assert converted(path, tmp_path / "out", header="yes", label="1000").num_rows("train") == 160
    assert converted(path, tmp_path / "with", header="no").num_rows("train") == 161


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", X=np.array([[{}], [{}]], object), y=np.arange(2))
    with pytest.raises(DataError, match="could run any program"):
        converted(tmp_path / "t.npz", tmp_path / "out")


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.bz2", ".csv.xz", ".zip", ".parquet", ".npz"])
def test_a_file_cut_short_is_called_that(suffix: str, tmp_path: Path) -> None:
    name = suffix.lstrip(".").replace("csv.", "")
    path = WRITERS[name](tmp_path / "table.csv", frame(2000))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match=r"damaged|no whole"):
        converted(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_label_kinds(tmp_path: Path) -> None:
    table = frame(num_features=2)
    for label, kind, values in [
        (np.arange(200) % 4 * 5, "integers", (0, 5, 10, 15)),
        ([f"{i % 3}b" for i in range(200)], "classes", ("0b", "1b", "2b")),
        (np.arange(200) / 7, "values", ()),
        (np.arange(200) + 5, "values", ()),
        (1990 + np.arange(200) % 2 * 3, "years", (1990, 1991, 1992, 1993)),
    ]:
        table["year"] = label
        dataset = converted(
            to_csv(tmp_path / f"{kind}.csv", table), tmp_path / f"{kind}{len(list(tmp_path.iterdir()))}"
        )
        assert (dataset.schema.label_kind, dataset.schema.label_values) == (kind, values)
        assert dataset.schema.num_outputs == (len(values) or 1)
    as_classes = converted(tmp_path / "integers.csv", tmp_path / "asked", label_kind="classes")
    assert as_classes.schema.label_values == ("0", "5", "10", "15")


@needs_real_rows
def test_real_songs(tmp_path: Path) -> None:
    songs = converted(REAL_ROWS / "msd_head.csv", tmp_path / "songs")
    table = pd.read_csv(REAL_ROWS / "msd_head.csv", header=None)
    features, labels = all_rows(songs)
    assert len(features) == 800
    assert songs.schema.is_songs
    assert songs.schema.label_values == tuple(range(1922, 2012))
    assert np.array_equal(features, table.iloc[:, 1:].to_numpy().astype(np.float32))
    assert np.array_equal(labels + 1922, table[0])
    assert songs.metadata["split"] == "sequential"
    subset = converted(REAL_ROWS / "msd_subset_54.csv", tmp_path / "subset")
    years = pd.read_csv(REAL_ROWS / "msd_subset_54.csv")["year"]
    assert np.array_equal(all_rows(subset)[1] + subset.schema.label_values[0], years)
    counts = np.sum([subset.label_counts(split) for split in ("train", "val", "test")], axis=0)
    assert dict(zip(subset.schema.label_values, counts, strict=True)).items() >= years.value_counts().to_dict().items()


@needs_real_rows
def test_real_leaves(tmp_path: Path) -> None:
    leaves = converted(REAL_ROWS / "leaf.csv", tmp_path / "leaf", label="species", drop=("id",), layout="64x3")
    table = pd.read_csv(REAL_ROWS / "leaf.csv")
    features, labels = all_rows(leaves)
    assert leaves.schema.num_outputs == 99
    assert [leaves.schema.label_values[k] for k in labels] == table["species"].tolist()
    assert np.array_equal(features, table.iloc[:, 2:].to_numpy().astype(np.float32))
    assert min(leaves.label_counts("train")) >= 6  # stratified
