"""Without Optuna a search is refused in one message, before ranks or TensorFlow start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hvd_train.cli import main


def test_the_message_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["search", "--out", str(tmp_path / "out")]) == 3
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "pip install hvd_train[search]" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--trials", "0"], "--trials 0 is not possible"),
        (["--monitor", "train_loss"], "--monitor train_loss is not possible"),
        (["--space", "none.toml"], "none.toml: there is no such file"),
    ],
)
def test_a_mistake_in_the_flags_is_one_message(
    flags: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["search", "--out", str(tmp_path / "out"), *flags]) == 2
    assert told in capsys.readouterr().err
