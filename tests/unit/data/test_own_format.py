"""A format of the user's own: one file with a Table, named by --format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hvd_train.config import SplitConfig, TableConfig
from hvd_train.data.cache import prepare
from hvd_train.data.dataset import Dataset
from hvd_train.data.new_rows import read_table_for_prediction
from hvd_train.data.sources import TableFormat, open_table
from hvd_train.data.sources.base import Table
from hvd_train.data.sources.formats import FORMATS, load_table_class
from hvd_train.errors import ConfigError, DataError
from hvd_train.files import Damaged

OWN = """
import numpy as np
from hvd_train.data import Table

class Scores(Table):
    def __init__(self, path, table_format):
        super().__init__(path, table_format)
        with path.open() as file:
            self.columns = tuple(file.readline().split())

    def chunks(self, columns):
        cells = np.loadtxt(self.path, skiprows=1, ndmin=2)
        yield self.chunk_of(cells, columns, start=0)

class Half(Table):
    pass

def scores():
    pass
"""
ROWS = 400


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows.scores"
    rng = np.random.default_rng(3)
    cells = np.column_stack([rng.integers(1980, 2000, ROWS), rng.normal(size=(ROWS, 2))])
    path.write_text("year a b\n" + "\n".join(" ".join(f"{cell:.6g}" for cell in row) for row in cells) + "\n")
    return path


def config(own: Path, table: Path, tmp_path: Path, **given: object) -> TableConfig:
    return TableConfig(path=table, format=f"{own}:Scores", cache_dir=tmp_path / "cache", **given)  # type: ignore[arg-type]


def test_it_is_converted_and_again_when_its_code_changes(own: Path, table: Path, tmp_path: Path) -> None:
    given = config(own, table, tmp_path)
    directory = prepare(given, SplitConfig())
    dataset = Dataset.open(directory)
    assert sum(dataset.num_rows(split) for split in ("train", "val", "test")) == ROWS
    assert dataset.schema.feature_names == ("a", "b")
    assert dataset.table_format.format == f"{own}:Scores"
    assert prepare(given, SplitConfig()) == directory
    own.write_text(OWN + "# changed\n")
    assert prepare(given, SplitConfig()) != directory


def test_new_rows_are_read_by_it_without_a_flag(own: Path, table: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(prepare(config(own, table, tmp_path), SplitConfig()))
    blocks = read_table_for_prediction(table, dataset.schema, dataset.table_format, with_labels=True)
    assert sum(len(block.features) for block in blocks) == ROWS


def test_a_reference_is_made_absolute_and_kept_with_the_run(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.parent)
    assert TableConfig(format="own.py:Scores").format == f"{own}:Scores"
    kept = TableFormat(format=f"{own}:Scores")
    assert TableFormat.from_json(kept.to_json()) == kept
    for wrong in ("own.py:", "excel", ":x", "a b:c"):
        with pytest.raises(ConfigError, match=r"format = "):
            TableConfig(format=wrong)
        with pytest.raises(Damaged):
            TableFormat.from_json({"format": wrong})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scores", r"no subclass of hvd_train\.data\.Table"),
        ("Half", "does not define chunks"),
        ("Missing", "has no 'Missing'"),
    ],
)
def test_what_is_no_table_is_refused(own: Path, table: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_table(table, TableFormat(format=f"{own}:{name}"))


def test_a_cell_that_is_infinite_is_named(own: Path, table: Path, tmp_path: Path) -> None:
    text = table.read_text().splitlines()
    text[3] = "1990 inf 2"
    table.write_text("\n".join(text))
    with pytest.raises(DataError, match=r"row 3, column 2 \('a'\): inf is infinite"):
        prepare(config(own, table, tmp_path), SplitConfig())


@pytest.mark.parametrize("name", FORMATS)
def test_every_built_in_format_has_its_class(name: str) -> None:
    assert issubclass(load_table_class(name), Table)
