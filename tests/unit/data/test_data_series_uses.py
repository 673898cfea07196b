"""What becomes of series: new ones for a model, the same as arrays, and what is told of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_helpers import all_rows, converted, new_rows, sections, write_lines
from series_files import dense, some_series, ts_text, write

from hvd_train.config import SamplingConfig
from hvd_train.data import Dataset, convert, describe
from hvd_train.errors import DataError


def test_new_series_may_be_shorter_and_not_longer(tmp_path: Path) -> None:
    series, labels = some_series(30, 2, (6, 8))
    dataset = converted(write(tmp_path / "a.ts", ts_text(series, labels)), tmp_path / "out")
    short, short_labels = some_series(4, 2, (3, 5))
    path = write(tmp_path / "new.ts", ts_text(short, short_labels))
    found, outputs = new_rows(path, dataset)
    assert np.array_equal(found, dense(short, 8), equal_nan=True)
    assert outputs is not None
    assert outputs.tolist() == [0, 1, 2, 0]
    unlabelled = write(tmp_path / "unlabelled.ts", ts_text(short, None))
    assert np.array_equal(new_rows(unlabelled, dataset)[0], dense(short, 8), equal_nan=True)
    long, _ = some_series(4, 2, (9, 9))
    with pytest.raises(DataError, match="9 positions x 2 channels, but the model was trained on 8 x 2. Cut the series"):
        new_rows(write(tmp_path / "long.ts", ts_text(long, None)), dataset)
    wide, _ = some_series(4, 3, (8, 8))
    with pytest.raises(DataError, match=r"8 positions x 3 channels, but the model was trained on 8 x 2\.$"):
        new_rows(write(tmp_path / "wide.ts", ts_text(wide, None)), dataset)


def test_arrays_of_three_axes_are_the_same_series(tmp_path: Path) -> None:
    series, labels = some_series(40, 3, (5, 9))
    from_ts = converted(write(tmp_path / "a.ts", ts_text(series, labels)), tmp_path / "ts")
    array_NLC = dense(series, 9).reshape(40, 3, 9).transpose(0, 2, 1)
    np.savez(tmp_path / "a.npz", features=array_NLC, labels=labels)
    from_npz = converted(tmp_path / "a.npz", tmp_path / "npz")
    assert from_npz.series == from_ts.series
    assert all_rows(from_npz)[0].tobytes() == all_rows(from_ts)[0].tobytes()
    assert new_rows(tmp_path / "a.ts", from_npz)[0].tobytes() == new_rows(tmp_path / "a.npz", from_ts)[0].tobytes()


def test_a_description_is_of_channels_and_not_of_positions(tmp_path: Path) -> None:
    lines = ["1,2,3:10,?,30:a", "4,5:40,50:b"] * 10
    path = write_lines(tmp_path / "a.ts", "@classLabel true a b", "@data", *lines)
    told: list[str] = []
    directory = convert(path, tmp_path / "out", *sections(), report=told.append)
    assert "series of 2 to 3 positions x 2 channels, padded to 3, 10 missing values" in told
    assert not any("cells are missing" in line for line in told)
    text = describe(Dataset.open(directory), SamplingConfig())
    assert "Rows are series of 2 to 3 positions x 2 channels" in text
    rows = {
        line.split()[0]: [float(v) for v in line.split()[1:]]
        for line in text.splitlines()
        if line[:9].strip() in "12" and line[:9].strip()
    }
    assert rows["1"][0] == 1
    assert rows["1"][2] == 5
    dataset = Dataset.open(directory)
    x = dataset.features_and_labels("train")[0].reshape(-1, 2, 3)
    for channel in (0, 1):
        of_channel = x[:, channel][~np.isnan(x[:, channel])]
        expected = [of_channel.min(), of_channel.mean(), of_channel.max(), of_channel.std()]
        assert rows[str(channel + 1)] == pytest.approx(expected, rel=1e-4)


def test_no_checksum_depends_on_the_facts_about_series(tmp_path: Path) -> None:
    """Arrays of three axes that were converted before this was told have the checksum of today."""
    array = np.arange(240, dtype=np.float32).reshape(20, 4, 3)
    np.savez(tmp_path / "a.npz", features=array, labels=[0, 1] * 10)
    np.savez(tmp_path / "b.npz", features=array.transpose(0, 2, 1).reshape(20, 12), labels=[0, 1] * 10)
    as_series, as_table = (
        converted(tmp_path / "a.npz", tmp_path / "a"),
        converted(tmp_path / "b.npz", tmp_path / "b", layout="4x3"),
    )
    assert as_series.series is not None
    assert as_table.series is None
    assert as_series.checksum == as_table.checksum
