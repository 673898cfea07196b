"""How new rows are read for a run that was trained on each kind of table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from data_helpers import all_rows, converted, frame, new_rows, write_lines, written
from hypothesis import given
from hypothesis import strategies as st

from hvd_train.errors import DataError


def write(table: pd.DataFrame, path: Path, kind: str) -> Path:
    if kind == "named csv":
        table.to_csv(path / "t.csv", index=False)
    elif kind == "csv":
        table.to_csv(path / "t.csv", index=False, header=False)
    elif kind == "counted csv":
        table.set_axis(map(str, range(len(table.columns))), axis=1).to_csv(path / "t.csv", index=False)
    else:
        return written(table, path, kind)
    return path / "t.csv"


KINDS = ("named csv", "csv", "counted csv", "parquet", "npz", "svm")
REFUSED = {(trained, new) for trained in ("npz", "svm") for new in ("named csv", "counted csv", "parquet")}
REFUSED |= {(named, "counted csv") for named in ("named csv", "parquet")}
REFUSED |= {("counted csv", named) for named in ("named csv", "parquet")}


@pytest.mark.parametrize("trained", KINDS)
def test_new_rows_of_another_kind_are_read_right_or_refused(trained: str, tmp_path: Path) -> None:
    table = frame(60, 4).fillna(0.5)
    table.iloc[:, 1:] = (table.iloc[:, 1:].to_numpy() / 1e3 + 0.25).astype(np.float32)
    dataset = converted(write(table, tmp_path, trained), tmp_path / "out", missing=("7",))
    expected_labels = all_rows(dataset)[1][20:40]
    for new in KINDS:
        (tmp_path / new).mkdir()
        path = write(table.iloc[20:40], tmp_path / new, new)
        if (trained, new) in REFUSED:
            with pytest.raises(DataError, match="columns are missing"):
                new_rows(path, dataset)
            continue
        features, labels = new_rows(path, dataset)
        assert np.array_equal(features, table.iloc[20:40, 1:].to_numpy().astype(np.float32)), new
        assert labels is not None
        assert np.array_equal(labels, expected_labels), new


def test_a_label_in_the_middle_stands_apart_in_npz_and_libsvm(tmp_path: Path) -> None:
    table = frame(60, 4).fillna(0.5)[["f0", "f1", "year", "f2", "f3"]]
    table.to_csv(tmp_path / "t.csv", index=False)
    dropped = converted(tmp_path / "t.csv", tmp_path / "dropped", drop=("f1",))
    whole = converted(tmp_path / "t.csv", tmp_path / "whole")
    expected = table[["f0", "f1", "f2", "f3"]].to_numpy().astype(np.float32)
    for name in ("npz", "svm"):
        path = written(table[["year", "f0", "f1", "f2", "f3"]], tmp_path, name)
        assert np.array_equal(new_rows(path, whole)[0], expected), name
        assert np.array_equal(new_rows(path, dropped)[0], expected[:, [0, 2, 3]]), name
    fewer = table[["year", "f0", "f2", "f3"]]
    assert np.array_equal(new_rows(written(fewer, tmp_path, "npz"), dropped)[0], expected[:, [0, 2, 3]])
    with pytest.raises(DataError, match="does not tell which"):
        new_rows(written(fewer, tmp_path, "svm"), dropped)


def test_libsvm_counts_from_where_the_table_of_training_did(tmp_path: Path) -> None:
    rows = [f"{i % 2} 0:{i}.5 2:{i % 7}" for i in range(40)]
    dataset = converted(write_lines(tmp_path / "t.svm", *rows), tmp_path / "out")
    assert dataset.table_format.index_base == "0"
    unlisted, _ = new_rows(write_lines(tmp_path / "p.svm", "1 1:3 2:4", "0 2:1"), dataset)
    marked, _ = new_rows(write_lines(tmp_path / "q.svm", "1 0:0 1:3 2:4", "0 2:1"), dataset)
    assert unlisted.tolist() == marked.tolist() == [[0, 3, 4], [0, 0, 1]]
    from_one = converted(
        write_lines(tmp_path / "t.svm", *(f"{i % 2} 1:{i}.5 3:2" for i in range(40))), tmp_path / "one"
    )
    with pytest.raises(DataError, match="line 2: there is a feature 0, but features count from 1"):
        new_rows(write_lines(tmp_path / "p.svm", "1 1:3", "0 0:1"), from_one)
    asked = converted(tmp_path / "t.svm", tmp_path / "asked", index_base="0")
    assert asked.schema.num_features == 4


def test_a_libsvm_file_without_suffix_is_read_as_the_run_read_it(tmp_path: Path) -> None:
    rows = [f"{i % 2 * 2 - 1:+d} 1:{i}.5 2:1" for i in range(40)]
    dataset = converted(write_lines(tmp_path / "heart_scale", *rows), tmp_path / "out", format="libsvm")
    features, labels = new_rows(tmp_path / "heart_scale", dataset)
    assert np.array_equal(features, all_rows(dataset)[0])
    assert np.array_equal(labels, all_rows(dataset)[1])
    features, _ = new_rows(write_lines(tmp_path / "p.csv", "1,2.5,3"), dataset)
    assert features.tolist() == [[2.5, 3]]


@st.composite
def texts(draw: st.DrawFn) -> tuple[list[str], dict[str, Any]]:
    """A table with some kind of first line, and options that may read it."""
    num_columns, num_rows = draw(st.integers(2, 9)), draw(st.integers(12, 30))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    forms = [draw(st.sampled_from(["fraction", "whole", "counted"])) for _ in range(num_columns)]
    label = draw(st.integers(0, num_columns - 1))
    forms[label] = draw(st.sampled_from(["whole", "class", "fraction"]))

    def cell(form: str, row: int) -> str:
        if form != "class" and row and rng.random() < 0.1:
            return "?"
        return {"fraction": f"{rng.normal():.3f}", "whole": f"{rng.integers(9)}", "class": "abc"[row % 3]}.get(
            form, f"{row}"
        )

    rows = [[cell(form, row) for form in forms] for row in range(num_rows)]
    for row, cells in enumerate(rows):
        cells[label] = cell(forms[label], row).replace("?", "1")
    names = {
        "none": [],
        "words": [f"f{i}" for i in range(num_columns)],
        "counted": [str(i + draw(st.integers(0, 1))) for i in range(num_columns)],
        "years": [str(2000 + 5 * i) for i in range(num_columns)],
        "index": ["", *(f"f{i}" for i in range(1, num_columns))],
        "mixed": [f"f{i}" if i % 3 else f"{i}.5" for i in range(num_columns)],
        "missing": ["?"] * num_columns,
    }[draw(st.sampled_from(["none", "words", "counted", "years", "index", "mixed", "missing"]))]
    options = {"label": str(label + 1), "header": draw(st.sampled_from(["auto", "auto", "yes", "no"]))}
    if draw(st.booleans()) and num_columns > 2:
        options["drop"] = (str((label + 1) % num_columns + 1),)
    lines = [",".join(cells) for cells in ([names] if names else []) + rows]
    return lines, options | {"missing": ("?",), "missing_labels": "drop", "num_virtual_shards": 1, "split": "random"}


@given(texts())
def test_a_run_reads_its_own_table_as_it_was_trained_on(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[list[str], dict[str, Any]]
) -> None:
    lines, options = drawn
    tmp_path = tmp_path_factory.mktemp("own")
    path = write_lines(tmp_path / "t.csv", *lines)
    try:
        dataset = converted(path, tmp_path / "out", **options)
    except DataError:
        return
    features, labels = new_rows(path, dataset)
    expected, expected_labels = all_rows(dataset)
    assert np.array_equal(features, expected, equal_nan=True)
    assert np.array_equal(labels, expected_labels)
