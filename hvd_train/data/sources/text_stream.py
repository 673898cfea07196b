"""From the bytes of a text table to plain CSV in UTF-8, line for line: other encodings, comment lines, runs of blanks.

What is left out leaves an empty line behind, so that line numbers stay those an editor shows. A plain table is not
touched: it is read as it stands in the file.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hvd_train.data.sources.opening import DAMAGE, OpenFile, damaged, open_bytes
from hvd_train.errors import DataError

WHITESPACE = "whitespace"
MAX_LINE_BYTES = 128 << 20
_BLOCK_BYTES = 1 << 20
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks; that of UTF-32 begins with that of UTF-16."""


@dataclass(frozen=True)
class TextForm:
    """How a file's text becomes plain CSV."""

    encoding: str = "utf-8"
    delimiter: str = ","
    """One character; a space stands for any run of spaces and tabs."""
    comment: str = ""
    """Lines that begin with it are left out."""
    edits: Mapping[int, str] = field(default_factory=dict)
    """What stands in place of some of the first lines, by their number from 1."""

    @property
    def is_plain(self) -> bool:
        return self.encoding == "utf-8" and self.delimiter != " " and not self.comment and not self.edits


def found_encoding(path: Path, asked: str) -> str:
    """The encoding of a text: by its byte order mark, or else as asked, or UTF-8. Raises DataError."""
    try:
        with open_bytes(path) as file:
            beginning = file.stream.peek(4)[:4]
    except DAMAGE as error:
        raise damaged(path, error) from None
    if found := next((name for mark, name in _MARKS if beginning.startswith(mark)), None):
        return found
    name = "utf-8" if asked == "auto" or beginning.startswith(codecs.BOM_UTF8) else codecs.lookup(asked).name
    return "utf-8" if name in ("utf-8-sig", "ascii") else name


@contextmanager
def open_text(path: Path, form: TextForm) -> Iterator[OpenFile]:
    """The file's content, decompressed, as plain CSV. Raises DataError, also while it is read."""
    with open_bytes(path) as file:
        stream: Any = file.stream
        if form.encoding != "utf-8":
            stream = io.BufferedReader(_Recoded(path, stream, form.encoding), _BLOCK_BYTES)
        if form.delimiter == " " or form.comment or form.edits:
            stream = io.BufferedReader(_Lines(path, stream, form), _BLOCK_BYTES)
        yield OpenFile(stream, file.raw)


class _Blocks(io.RawIOBase):
    """A stream of the blocks that `_next` gives; an empty one is the end."""

    def __init__(self) -> None:
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = self._next()
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _next(self) -> bytes:
        raise NotImplementedError


class _Recoded(_Blocks):
    """A text of any encoding in UTF-8, without a byte order mark. A byte that is no text stays as it is."""

    def __init__(self, path: Path, source: Any, encoding: str) -> None:
        super().__init__()
        self._path, self._source, self._encoding = path, source, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="surrogateescape")
        self._is_start = True

    def _next(self) -> bytes:
        while True:
            block = self._source.read(_BLOCK_BYTES)
            try:
                text = self._decoder.decode(block, final=not block)
                if self._is_start and text:
                    text, self._is_start = text.removeprefix("\ufeff"), False
                data = text.encode("utf-8", "surrogateescape")
            except UnicodeError as error:
                raise DataError(
                    f"{self._path}: the text is not {self._encoding} ({getattr(error, 'reason', error)}). Give its --encoding."
                ) from None
            if data or not block:
                return data


class _Lines(_Blocks):
    """Plain lines: comments left empty, runs of blanks as one space, the first lines edited."""

    def __init__(self, path: Path, source: Any, form: TextForm) -> None:
        super().__init__()
        self._path, self._source, self._form = path, source, form
        self._carry = b""
        self._comment = None
        if form.comment:
            mark = re.escape(form.comment.encode())
            self._comment = re.compile(rb"(?:\A|(?<=[\r\n]))[ \t]*" + mark + rb"[^\r\n]*")
        self._is_start = True

    def _next(self) -> bytes:
        if self._is_start:
            self._carry, self._is_start = self._edited_beginning(), False
        while True:
            block = self._source.read(_BLOCK_BYTES)
            data = self._carry + block
            # A carriage return at the end may be half of a line's end: it waits for the other half.
            end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1 if block else len(data)
            self._carry = data[end:]
            self._require_short(self._carry)
            if end or not block:
                return self._plain(data[:end])

    def _edited_beginning(self) -> bytes:
        last, data = max(self._form.edits, default=0), b""
        while len(lines := data.splitlines(keepends=True)) <= last and (block := self._source.read(_BLOCK_BYTES)):
            data = (data + block).removeprefix(codecs.BOM_UTF8)
            self._require_short(data[-MAX_LINE_BYTES:] if b"\n" not in data else b"")
        for number, edit in self._form.edits.items():
            line = lines[number - 1]
            lines[number - 1] = edit.encode() + line[len(line.rstrip(b"\r\n")) :]
        return b"".join(lines)

    def _plain(self, data: bytes) -> bytes:
        if self._comment is not None and self._form.comment.encode() in data:
            data = self._comment.sub(b"", data)
        if self._form.delimiter == " ":
            data = _single_spaces(data)
        return data

    def _require_short(self, line: bytes) -> None:
        if len(line) >= MAX_LINE_BYTES:
            raise DataError(
                f"{self._path}: a line is longer than {MAX_LINE_BYTES >> 20} MiB. Rows stand one on each line."
            )


_OUTER_BLANKS = re.compile(rb"(?:\A|(?<=[\r\n]))[ \t]+|[ \t]+(?=[\r\n]|\Z)")
_RUNS = re.compile(rb"[ \t]{2,}|\t")
_QUOTED_OR_RUNS = re.compile(rb'("[^"\r\n]*")|[ \t]{2,}|\t')


def _single_spaces(data: bytes) -> bytes:
    data = _OUTER_BLANKS.sub(b"", data)
    if b'"' in data:
        return _QUOTED_OR_RUNS.sub(lambda match: match[1] or b" ", data)
    return _RUNS.sub(b" ", data)
