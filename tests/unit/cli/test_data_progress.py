"""The progress of long work on data: a bar on a terminal, a line now and then elsewhere, and nothing with --quiet."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvd_train.cli import live_terminal, main
from hvd_train.cli.live_terminal import data_progress


def shown(capsys: pytest.CaptureFixture[str], *, quiet: bool) -> str:
    with data_progress(plain="scored", quiet=quiet) as (report, progress):
        report("reading")
        progress(25_000_000, 100_000_000)
    said = capsys.readouterr()
    assert said.out == "", "the standard output is for the result"
    return said.err


def test_lines_without_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(live_terminal, "PLAIN_EVERY_S", 0.0)
    assert shown(capsys, quiet=False) == "reading\nscored: 25% of 100 MB\n"
    assert shown(capsys, quiet=True) == ""


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "25.0/100.0 MB" in shown(capsys, quiet=False)
    assert shown(capsys, quiet=True) == ""


def test_a_quiet_conversion_prints_the_result_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "\n".join(f"{2000 + row % 7},{row % 13}.5,{row % 5}.25" for row in range(400))
    (tmp_path / "table.csv").write_text(f"year,a,b\n{rows}\n")
    convert = ["data", "convert", str(tmp_path / "table.csv")]
    assert main([*convert, str(tmp_path / "loud")]) == 0
    loud = capsys.readouterr()
    assert loud.err
    assert main([*convert, str(tmp_path / "quiet"), "--quiet"]) == 0
    quiet = capsys.readouterr()
    assert (quiet.out, quiet.err) == (loud.out.replace("/loud", "/quiet"), "")
