"""Arrays and DataFrames become the same dataset as a file of the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hvd_train.config import SplitConfig, TableConfig
from hvd_train.data.arrays import in_cache
from hvd_train.data.dataset import Dataset
from hvd_train.errors import DataError

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(200, 6)).astype(np.float32)


def stored(tmp_path: Path, features: object, labels: object = None) -> tuple[Path, str | None]:
    table = in_cache(features, labels, table=TableConfig(cache_dir=tmp_path))
    assert table.path is not None
    return table.path, table.label


def test_a_frame_an_array_and_a_file_are_the_same_rows(tmp_path: Path) -> None:
    """Labels of a frame may be texts, and its index is no feature."""
    states = np.where(FEATURES[:, 0] > 0, "open", "closed")
    table = TableConfig(label="state", cache_dir=tmp_path)
    frame = pd.DataFrame(FEATURES, columns=list("abcdef")).assign(state=states)
    frame.to_csv(tmp_path / "table.csv", index=False)
    whole = Dataset.from_arrays(frame, table=table)
    beside = Dataset.from_arrays(frame.drop(columns="state"), pd.Series(states, name="state"), table=table)
    assert whole.checksum == beside.checksum
    assert whole.schema.label_values == ("closed", "open")
    assert whole.schema.feature_names == tuple("abcdef")
    arrays = Dataset.from_arrays(FEATURES, states, table=TableConfig(cache_dir=tmp_path))
    for dataset in (whole, arrays):
        assert np.array_equal(dataset.features_and_labels("train")[0], whole.features_and_labels("train")[0])
    again = Dataset.from_arrays(frame, table=table, split=SplitConfig(val_fraction=0.2))
    assert again.num_rows("val") > whole.num_rows("val")


def test_series_of_positions_and_channels_keep_their_layout(tmp_path: Path) -> None:
    dataset = Dataset.from_arrays(
        RANDOM.normal(size=(100, 8, 3)), np.arange(100) % 4, table=TableConfig(cache_dir=tmp_path)
    )
    assert dataset.schema.layout == (8, 3)


def test_the_same_arrays_are_the_same_file_whenever_they_are_stored(tmp_path: Path) -> None:
    first, _ = stored(tmp_path, FEATURES, np.arange(200) % 3)
    second, _ = stored(tmp_path, FEATURES.copy(), np.arange(200) % 3)
    other, _ = stored(tmp_path, FEATURES, np.arange(200) % 4)
    assert first == second != other
    assert sorted(path.name for path in first.parent.iterdir()) == sorted({first.name, other.name})


def test_a_label_may_stand_beside_a_frame(tmp_path: Path) -> None:
    frame = pd.DataFrame(FEATURES)
    path, name = stored(tmp_path, frame, pd.Series(np.arange(200) % 3, name="kind"))
    assert name == "kind"
    assert list(pd.read_parquet(path).columns) == ["0", "1", "2", "3", "4", "5", "kind"]
    assert stored(tmp_path, frame, list("ab") * 100)[1] == "label"


@pytest.mark.parametrize(
    ("features", "labels", "says"),
    [
        (FEATURES[0], None, r"an array \(6,\) of float32"),
        (FEATURES.astype(str), None, "Give numbers of shape"),
        (FEATURES, np.arange(3), r"labels of shape \(3,\) for 200 rows"),
        (pd.DataFrame(FEATURES), np.arange(3), "3 labels for 200 rows"),
        (pd.DataFrame({"a": [1, 2], "y": [0, 1]}), pd.Series([0, 1], name="y"), "has a column 'y' already"),
        (pd.DataFrame({"a": [1, "x"], "y": [0, 1]}), None, "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, features: object, labels: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        stored(tmp_path, features, labels)
