"""Text that any terminal takes: what its encoding does not have is drawn with ASCII or written as an escape.

Containers and batch systems give a program standard streams in ASCII (LC_ALL=POSIX, PYTHONIOENCODING), where a bar's block
or a column's name would end it with a UnicodeEncodeError. So would, in any encoding, a file name that is not UTF-8.
"""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata

HANDLER = "hvd_train.text.encoding"
# Signs whose meaning ASCII has, too.
PLAIN = {
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{MINUS SIGN}": "-",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{BULLET}": "*",
    "\N{NO-BREAK SPACE}": " ",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
}


def plain(character: str) -> str:
    """What stands for a character in ASCII: a line of a box, a block of a bar, or its escape.

    >>> plain("─"), plain("│"), plain("╰"), plain("█"), plain("é")
    ('-', '|', '+', '#', '\\\\xe9')
    """
    if character in PLAIN:
        return PLAIN[character]
    name = unicodedata.name(character, "")
    if name.startswith("BOX DRAWINGS"):
        corner = "AND" in name.split() or ("HORIZONTAL" in name) == ("VERTICAL" in name)
        return "+" if corner else "-" if "HORIZONTAL" in name else "|"
    if name.endswith("BLOCK"):
        return "#"
    return character.encode("ascii", "backslashreplace").decode("ascii")


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(plain, error.object[error.start : error.end])), error.end


def take_any_text() -> None:
    """Let the standard streams of this process take any text. Safe to call again; leaves streams of others as they are."""
    codecs.register_error(HANDLER, _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)
