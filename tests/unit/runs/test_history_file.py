"""metrics.csv while a run is trained: an epoch adds its own line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvd_train.runs import HistoryFile, write_history

ROWS = [{"epoch": epoch, "train_loss": 1 / epoch, "val_rmse": float("nan")} for epoch in range(1, 6)]


def whole(rows: list[dict[str, float]], folder: Path) -> str:
    write_history(rows, folder / "whole.csv")
    return (folder / "whole.csv").read_text()


def test_it_grows_to_what_is_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    history = HistoryFile(path)
    history.write([])
    assert not path.exists()
    for count in (1, 2, 2, 5):  # a save within an epoch has no new row, and one after several epochs has a few
        history.write(ROWS[:count])
        assert path.read_text() == whole(ROWS[:count], tmp_path)


def test_an_epoch_writes_nothing_but_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    history = HistoryFile(path)
    history.write(ROWS[:1])
    with path.open() as reader:
        assert len(reader.read().splitlines()) == 2
        for count in (2, 3):
            history.write(ROWS[:count])
            assert len(reader.read().splitlines()) == 1


@pytest.mark.parametrize("left", [None, "of an earlier session\n"])
def test_a_new_session_and_a_file_that_is_gone_make_it_again(left: str | None, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    if left is not None:
        path.write_text(left)
    history = HistoryFile(path)
    history.write(ROWS[:3])
    assert path.read_text() == whole(ROWS[:3], tmp_path)
    path.unlink()
    history.write(ROWS[:4])
    assert path.read_text() == whole(ROWS[:4], tmp_path)


def test_an_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    history = HistoryFile(path)
    history.write(ROWS[:1])
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError, match=r"metrics\.csv"):
        history.write(ROWS[:2])
