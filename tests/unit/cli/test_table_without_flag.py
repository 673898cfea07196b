"""A table that is given as a word of its own is refused with the flag that takes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvd_train.cli.arguments import TrainArguments
from hvd_train.cli.terminal import parse
from hvd_train.config import RunConfig
from hvd_train.distributed import detect_placement
from hvd_train.errors import UserError


def parsed(*argv: str) -> TrainArguments:
    placement = detect_placement({})
    return parse(TrainArguments, argv, placement, prog="hvd-train train", default=TrainArguments(run=RunConfig()))


@pytest.mark.parametrize("before", [[], ["--num-epochs", "2"], ["--dense-units", "64", "32"]])
def test_the_message_is_the_command_that_works(before: list[str], tmp_path: Path) -> None:
    songs = tmp_path / "songs.csv"
    songs.write_text("1,2\n")
    with pytest.raises(UserError, match=rf"{songs} stands without a flag.*: hvd-train train --data {songs}$"):
        parsed(*before, str(songs))


def test_a_first_word_need_not_be_a_file() -> None:
    with pytest.raises(UserError, match="given by --data: hvd-train train --data song$"):
        parsed("song", "--num-epochs", "2")


def test_values_of_flags_are_not_taken_for_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("songs.csv", "64", "32"):
        Path(name).write_text("1,2\n")
    run = parsed("--data", "songs.csv", "--dense-units", "64", "32").run
    assert (run.table.path, run.model.dense_units) == (Path("songs.csv"), (64, 32))
