"""Any text on any terminal: no UnicodeEncodeError from what a verb prints, whatever the stream's encoding."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable

import pytest
from rich.console import Console
from rich.table import Table

from hvd_train.cli import verbs
from hvd_train.text.encoding import plain, take_any_text


def printed(encoding: str, write: Callable[[], None]) -> str:
    """What `write` prints on both standard streams in this encoding."""
    written = io.BytesIO()
    out, err = (io.TextIOWrapper(written, encoding=encoding, write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        write()
        return written.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_character_is_written(encoding: str) -> None:
    def write() -> None:
        take_any_text()
        take_any_text()
        for character in ["é", "€", "█", "▏", "─", "│", "╭", "…", "\udcff", "\U0001f600", "年", "\x9b"]:
            print(character, end="")
            print(character, end="", file=sys.stderr)

    text = printed(encoding, write)
    assert text.count("\\udcff") == 2
    if encoding == "ascii":
        assert text.startswith("\\xe9\\xe9\\u20ac\\u20ac####--||++")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_tables_help_and_errors_are_written(encoding: str) -> None:
    def write() -> None:
        assert verbs.main(["größe"]) == 2
        assert verbs.main(["data", "describe", "\udcff█.csv"]) == 2
        assert verbs.main(["train", "--help"]) == 0
        table = Table(title="größe █")
        table.add_column("…")
        table.add_row("年")
        Console().print(table)

    text = printed(encoding, write)
    assert "hvd-train does" in text
    assert "\\udcff" in text
    assert "\\u5e74" in text


def test_lines_and_corners() -> None:
    assert "".join(map(plain, "┏━┳┓┃│├─┤└┴┘╰╮═║╪")) == "+-++||+-++++++-|+"
    assert "".join(map(plain, "█▉▌▏\N{MULTIPLICATION SIGN}\N{MINUS SIGN}“”")) == '####x-""'


def test_a_stream_that_is_none_of_ours_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as under pythonw or a closed descriptor
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    take_any_text()
