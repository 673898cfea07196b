"""hvd-train data convert, check, describe: what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_helpers import converted, frame

from hvd_train.cli.data_verbs import CheckArguments, ConvertArguments, DescribeArguments, check, convert, describe
from hvd_train.config import SamplingConfig, TableConfig
from hvd_train.data.duplicates import count_duplicates
from hvd_train.errors import DataError
from hvd_train.evaluation.baseline import TrainLabels, baselines_of_counts
from hvd_train.evaluation.metrics import MetricSet
from hvd_train.evaluation.output_spec import OutputSpec


@pytest.fixture
def table(tmp_path: Path) -> Path:
    frame(400).to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def test_convert_and_check(table: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    arguments = ConvertArguments(source=table, out=tmp_path / "out")
    assert convert(arguments, progress=lambda now, total: done.append((now, total))).path == tmp_path / "out"
    assert done[-1] == (table.stat().st_size, table.stat().st_size)
    good = check(CheckArguments(directory=tmp_path / "out"))
    assert good.exit_code == 0
    assert "400 rows" in good.text
    shard = tmp_path / "out/test/00001.npy"
    content = bytearray(shard.read_bytes())
    content[200] ^= 4
    shard.write_bytes(content)
    (tmp_path / "out/val/00002.npy").unlink()
    bad = check(CheckArguments(directory=tmp_path / "out"))
    assert bad.exit_code == 1
    assert "2 of" in bad.text
    assert "test/00001.npy: its sha256" in bad.text
    assert "val/00002.npy" in bad.text
    with pytest.raises(DataError, match="--force"):
        convert(arguments)


def test_describe_counts_rows_years_decades_and_missing_cells(table: Path, tmp_path: Path) -> None:
    source = pd.read_csv(table)
    arguments = DescribeArguments(
        directory=table,
        png=tmp_path / "h.png",
        max_features=3,
        table=TableConfig(cache_dir=tmp_path / "cache"),
        sampling=SamplingConfig(balance="inverse", lds_sigma=1.0),
    )
    outcome = describe(arguments)
    assert "400: 320 train, 40 val, 40 test (random split)" in outcome.text
    for decade, count in source.groupby(source["year"] // 10 * 10).size().items():
        assert f"{decade}s  {count}" in outcome.text
    for year, count in source["year"].value_counts().items():
        assert any(line.split()[:2] == [str(year), str(count)] for line in outcome.text.splitlines())
    assert "and 2 more" in outcome.text
    assert "With --balance inverse" in outcome.text
    assert "duplicates" in outcome.text.lower()
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")


def test_describe_other_kinds_of_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, label in {"classes": rng.choice(["ash", "oak"], 90), "values": rng.normal(size=90)}.items():
        pd.DataFrame({"y": label, "x": rng.normal(size=90)}).to_csv(tmp_path / f"{name}.csv", index=False)
        arguments = DescribeArguments(
            directory=tmp_path / f"{name}.csv",
            png=tmp_path / f"{name}.png",
            table=TableConfig(cache_dir=tmp_path / "c"),
        )
        text = describe(arguments).text
        assert ("oak" in text) == (name == "classes")
        assert ("always the median" in text) == (name == "values")


def test_duplicates_within_and_across_splits(tmp_path: Path) -> None:
    table = frame(100)
    table.iloc[95:] = table.iloc[:5].to_numpy()  # test rows that train has
    table.iloc[20] = table.iloc[21]
    table.iloc[82] = table.iloc[30]  # val
    table.to_csv(tmp_path / "t.csv", index=False)
    found = count_duplicates(converted(tmp_path / "t.csv", tmp_path / "out", split="sequential"))
    assert (found.rows, found.val_in_train, found.test_in_train) == (7, 1, 5)


def test_baselines_are_those_of_constants(table: Path, tmp_path: Path) -> None:
    dataset = converted(table, tmp_path / "out")
    years = {split: dataset.load(split, range(dataset.num_virtual_shards)).labels + 1990 for split in ("train", "test")}
    metrics = MetricSet.of(OutputSpec.of(dataset.schema.label_kind, dataset.schema.label_values))
    figures = baselines_of_counts(metrics, TrainLabels.of(dataset), dataset.label_counts("test"))
    most_common = np.bincount(years["train"]).argmax()
    assert figures["accuracy"] == pytest.approx(np.mean(years["test"] == most_common))
    assert figures["rmse"] == pytest.approx(np.sqrt(np.mean((years["test"] - years["train"].mean()) ** 2)))
    assert figures["mae"] == pytest.approx(np.mean(np.abs(years["test"] - np.floor(np.median(years["train"])))))
    text = describe(DescribeArguments(directory=tmp_path / "out")).text
    (line,) = [line for line in text.splitlines() if line.startswith("  test  exact accuracy")]
    shown = f"{100 * figures['accuracy']:.2f} % always the most common, {most_common}"
    assert line.split()[3:] == shown.split()
