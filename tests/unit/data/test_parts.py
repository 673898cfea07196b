"""A conversion in parts against that of a file: the same rows in the same order become the same bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from hvd_train.config import SplitConfig, TableConfig
from hvd_train.data import (
    ArrowTable,
    Dataset,
    Part,
    PartSpec,
    Store,
    TableFormat,
    Workers,
    convert,
    convert_in_parts,
    write_part,
)
from hvd_train.data.categories import codes
from hvd_train.data.conversion import spill
from hvd_train.data.parts import converter as parted
from hvd_train.data.parts.store import open_file_system
from hvd_train.errors import DataError


class FrameTable(ArrowTable):
    def chunks(self, columns: Any) -> Any:
        raise NotImplementedError


class Here(Workers):
    """Workers in this process, with the rows cut at `cuts`, who take their tasks in the reverse order."""

    def __init__(self, rows: pa.Table, cuts: Sequence[int], batch: int = 37) -> None:
        self.parts = [rows.slice(a, b - a) for a, b in zip([0, *cuts], [*cuts, rows.num_rows], strict=True)]
        self.batch = batch

    def write_parts(self, spec: PartSpec) -> list[Part]:
        numbered = list(enumerate(self.parts))[::-1]
        return [write_part(spec, index, part.to_batches(max_chunksize=self.batch)) for index, part in numbered]

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], *, what: str) -> list[Any]:
        return [function(item) for item in items[::-1]][::-1]


def in_parts(
    rows: pa.Table,
    out: str | Path,
    cuts: Sequence[int] = (),
    table: TableConfig | None = None,
    split: SplitConfig | None = None,
    widths: tuple[tuple[str, int | None], ...] | None = None,
    schema: Any = None,
) -> None:
    table = table or TableConfig()
    frame = FrameTable(Path("the DataFrame"), TableFormat.of(table), schema or rows.schema)
    widths = widths or tuple((name, None) for name in rows.column_names)
    convert_in_parts(frame, widths, out, table, split or SplitConfig(), Here(rows, cuts), num_tasks=5)


def rows_of(num_rows: int, kind: str) -> pa.Table:
    rng = np.random.default_rng(3)
    cells = rng.normal(100, 5, (num_rows, 3)).astype(np.float32)
    cells[rng.random(cells.shape) < 0.01] = np.nan
    label: Any = {
        "years": rng.integers(1990, 2010, num_rows),
        "classes": rng.choice(["ash", "oak", "yew"], num_rows),
        "values": rng.normal(size=num_rows),
        "missing": pa.array(rng.integers(1990, 2010, num_rows), mask=rng.random(num_rows) < 0.1),
    }[kind]
    return pa.table(
        {
            "label": label,
            **{f"f{i}": cells[:, i] for i in range(3)},
            "row": np.arange(num_rows),
            "group": rng.choice([*"abcdefghij"], num_rows),
        }
    )


@pytest.mark.parametrize(
    ("kind", "table", "split"),
    [
        ("years", {}, {}),
        ("classes", {}, {}),
        ("values", {}, {"num_virtual_shards": 6}),
        ("missing", {"missing_labels": "drop"}, {"method": "sequential"}),
        ("years", {"missing": ("-7",)}, {"method": "group:group"}),
    ],
)
def test_rows_in_parts_become_what_a_file_of_them_becomes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, table: dict[str, Any], split: dict[str, Any]
) -> None:
    for module in (spill, parted):
        monkeypatch.setattr(module, "BLOCK_BYTES", 1600)  # a hundred rows: several blocks
    rows = rows_of(1234, kind)
    pyarrow.parquet.write_table(rows, tmp_path / "rows.parquet")
    config = TableConfig(label="label", **({"drop": ("group",)} if "method" not in split else {}) | table)
    if split.get("method") == "sequential":
        config = dataclasses.replace(config, drop=("group",))
    chosen = SplitConfig(**split)
    convert(tmp_path / "rows.parquet", tmp_path / "file", config, chosen)
    in_parts(rows, tmp_path / "parts", [1, 1, 400, 900], config, chosen)
    one, other = Dataset.open(tmp_path / "file"), Dataset.open(tmp_path / "parts")
    assert one.checksum == other.checksum
    assert one.metadata["row_numbers"] == ["row"]
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["metadata.json", "test", "train", "val"]


def test_texts_in_parts_become_the_categories_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (spill, parted):
        monkeypatch.setattr(module, "BLOCK_BYTES", 3200)
    rows = rows_of(1234, "missing").drop_columns(["row"])
    rng = np.random.default_rng(5)
    towns = pa.array([f"t{i}" for i in rng.poisson(6, rows.num_rows)], mask=rng.random(rows.num_rows) < 0.1)
    rows = rows.append_column("town", towns).append_column(
        "colour", pa.array(rng.choice(["red", "blue"], rows.num_rows))
    )
    pyarrow.parquet.write_table(rows, tmp_path / "rows.parquet")
    config = TableConfig(label="label", missing_labels="drop")
    convert(tmp_path / "rows.parquet", tmp_path / "file", config, SplitConfig())
    in_parts(rows, tmp_path / "parts", [1, 1, 400, 900], config)
    one, other = Dataset.open(tmp_path / "file"), Dataset.open(tmp_path / "parts")
    assert one.schema.text_columns[1].has_missing
    assert one.schema.text_columns[1].has_other
    assert one.checksum == other.checksum


def test_texts_that_are_too_many_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (
        rows_of(300, "years")
        .drop_columns(["row", "group"])
        .append_column("name", pa.array([f"n{i}" for i in range(300)]))
    )
    with pytest.raises(DataError, match="the column 'name' is unlike a category"):
        in_parts(rows, tmp_path / "out", [100], TableConfig(label="label"))
    for limit in (80, 200):  # in one part, and in all together
        monkeypatch.setattr(codes, "MAX_TEXTS", limit)
        with pytest.raises(DataError, match=r"column 5 \('name'\) has \d+ different texts so far.*--drop name"):
            in_parts(rows, tmp_path / "out", [100, 200], TableConfig(label="label"))
    assert not list(tmp_path.iterdir())


def test_an_array_is_a_column_for_each_value(tmp_path: Path) -> None:
    rows = rows_of(300, "years").drop_columns(["row", "group"])
    packed = pa.table(
        {
            "label": rows["label"],
            "x": pa.array(np.stack([rows[f"f{i}"] for i in range(3)], 1).tolist(), pa.list_(pa.float32())),
        }
    )
    in_parts(rows, tmp_path / "columns", [100])
    schema = pa.schema([("label", pa.int64()), *((f"f{i}", pa.float32()) for i in range(3))])
    in_parts(packed, tmp_path / "packed", [50], widths=(("label", None), ("x", 3)), schema=schema)
    assert Dataset.open(tmp_path / "columns").checksum == Dataset.open(tmp_path / "packed").checksum
    short = packed.set_column(1, "x", pa.array([[1.0, 2.0, 3.0]] * 299 + [[1.0]], pa.list_(pa.float32())))
    with pytest.raises(DataError, match="row 300, column 2 .*array in 'x' holds 1 values, but that of another row 3"):
        in_parts(short, tmp_path / "short", [50], widths=(("label", None), ("x", 3)), schema=schema)
    assert not (tmp_path / "short").exists()


def test_the_first_bad_row_is_named_by_its_number_in_the_table(tmp_path: Path) -> None:
    rows = rows_of(300, "years").drop_columns(["row", "group"])
    cells = np.array(rows["f1"]).copy()
    cells[[210, 250]] = np.inf
    bad = rows.set_column(2, "f1", pa.array(cells))
    with pytest.raises(DataError, match=r"the DataFrame, row 211, column 3 \('f1'\): inf is infinite"):
        in_parts(bad, tmp_path / "out", [100, 240])
    label = pa.array([None if i == 150 else 2000 + i % 9 for i in range(300)])
    with pytest.raises(DataError, match="row 151, column 1 .*the label is missing"):
        in_parts(rows.set_column(0, "label", label), tmp_path / "out", [100, 240])
    with pytest.raises(DataError, match="it holds no rows"):
        in_parts(rows.slice(0, 0), tmp_path / "out")
    one = rows.set_column(0, "label", pa.array([2000] * 300))
    with pytest.raises(DataError, match="all 300 rows have the same label"):
        in_parts(one, tmp_path / "out", [100])
    assert not list(tmp_path.iterdir())


def test_a_place_named_by_a_url(tmp_path: Path) -> None:
    rows = rows_of(300, "years").drop_columns(["row", "group"])
    url = f"file://{tmp_path}/there"
    in_parts(rows, url, [100])
    in_parts(rows, tmp_path / "here", [200])
    assert Dataset.open(tmp_path / "there").checksum == Dataset.open(tmp_path / "here").checksum
    assert not (tmp_path / "there" / "spill").exists()
    with pytest.raises(DataError, match="there is a dataset already"):
        in_parts(rows, url)
    with pytest.raises(DataError, match="nowhere://x"):
        open_file_system("nowhere://x")


def test_a_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"abc")
    assert Store(str(tmp_path)).read("part", 1, 2) == b"bc"
    with pytest.raises(DataError, match="part: the file is shorter"):
        Store(str(tmp_path)).read("part", 1, 3)
