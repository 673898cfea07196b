"""What may be asked for where a text table is read: the rules of TableConfig's fields about text."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

NAMED_DELIMITERS = {"whitespace": " ", "tab": "\t", "\\t": "\t"}
"""Names of delimiters that are hard to write in a shell."""


def broken_rules(delimiter: str, thousands: str, encoding: str, comment: str) -> Iterator[tuple[str, str, str]]:
    """(field, what was given, the rule) for each value that cannot be."""
    if not (len(delimiter) == 1 and delimiter not in '\r\n"\0') and delimiter not in NAMED_DELIMITERS:
        yield "delimiter", delimiter, "it is one character, tab or whitespace"
    if len(thousands) > 1 or thousands not in ".,'_ ":
        yield "thousands", thousands, "it is one of . , ' _ or a space, or empty for none"
    if encoding != "auto" and not _is_text_encoding(encoding):
        yield "encoding", encoding, "it is the name of an encoding, such as latin-1 or utf-16"
    if not comment.isprintable() or any(c.isalnum() or c in "\"'+-., " for c in comment):
        yield "comment", comment, "it is a sign such as # or //, with which no row begins"
    if comment and comment[0] == NAMED_DELIMITERS.get(delimiter, delimiter):
        yield "comment", comment, "it is also the delimiter"


def _is_text_encoding(name: str) -> bool:
    try:
        return bool("1\n".encode(name)) and codecs.getincrementaldecoder(name) is not None
    except (LookupError, ValueError):  # of which a UnicodeError is one
        return False
