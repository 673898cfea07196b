"""Text tables made from a seed, and a second, plain reading of them that shares nothing with `hvd_train.data.sources`.

A case is one file: a line of JSON (how the table is read, and what must come out where that is known), then the table.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
import random
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

KINDS = ("number", "number", "number", "boolean", "percent", "date")
EPOCH = datetime.datetime(1970, 1, 1)
TOO_LARGE = float(np.finfo(np.float32).max) * (1 + 2.0**-25)
"""What rounds to infinity as a 32-bit float."""
Values = list[list[float]]


@dataclass(frozen=True)
class Case:
    """A text table, how it is to be read, and what is in it."""

    options: dict[str, Any]
    text: bytes
    labels: list[str] | None = None
    values: Values | None = None

    def to_bytes(self) -> bytes:
        note = {"options": self.options, "labels": self.labels, "values": self.values}
        return json.dumps(note).encode() + b"\n" + self.text

    @classmethod
    def of(cls, data: bytes) -> Case:
        note, _, text = data.partition(b"\n")
        found = json.loads(note)
        options = found["options"] | {"missing": tuple(found["options"]["missing"])}
        return cls(options, text, found["labels"], found["values"])


def make_case(rng: random.Random) -> Case:
    """A table without a fault, in any of the forms that are read."""
    options = _options(rng)
    num_columns = rng.randint(1, 4)
    kinds = [rng.choice(KINDS) for _ in range(num_columns)]
    names = ["label", *(f"col{i}" for i in range(num_columns))]
    rows, labels, values = [], [], []
    texts = [f"c{i}" for i in range(3)] if options["encoding"] == "auto" or rng.random() < 0.5 else ["ä", "ü b", "z"]
    for _ in range(rng.choice([1, 2, 5, 30, 200])):
        label = rng.choice(texts)
        row, value = [_quoted(rng, label, options)], []
        for kind in kinds:
            cell, number = _cell(rng, kind, options)
            row.append(cell)
            value.append(number)
        labels.append(label)
        rows.append(row)
        values.append(value)
    # The first filled cell of a column decides its kind, so a column's must be there from the beginning.
    lines = [_joined(rng, row, options) for row in rows]
    if options["header"] == "yes":
        mark = f"{options['comment']} " if options["comment"] and num_columns > 1 and rng.random() < 0.3 else ""
        if not mark or not _looks_like_names(rows[0]):
            lines.insert(0, mark + _joined(rng, names, options))
        else:
            lines.insert(0, _joined(rng, names, options))
    for _ in range(rng.randint(0, 3)):
        at = rng.randint(1, len(lines))
        lines.insert(at, f"{options['comment']} said {at}" if options["comment"] and rng.random() < 0.7 else "")
    newline = rng.choice(["\n", "\n", "\r\n", "\r"])
    text = newline.join(lines) + (newline if rng.random() < 0.8 else "")
    return Case(options, _encoded(rng, text, options), labels, values)


def _options(rng: random.Random) -> dict[str, Any]:
    delimiter = rng.choice([",", ",", ",", ";", "tab", "|", "whitespace", " "])
    decimal = rng.choice([".", ".", ","]) if delimiter != "," else "."
    thousands = rng.choice(["", "", "", ",", ".", "'", "_", " "])
    if thousands in (decimal, delimiter) or (thousands == " " and delimiter == "whitespace"):
        thousands = ""
    return {
        "format": "csv",
        "delimiter": delimiter,
        "decimal": decimal,
        "thousands": thousands,
        "encoding": rng.choice(["auto", "auto", "latin-1", "cp1252", "utf-16-le", "utf-8"]),
        "comment": rng.choice(["", "", "#", "//", "%"]),
        "header": rng.choice(["yes", "no"]),
        "missing": list(rng.choice([(), (), ("NA",), ("?", "-999")])),
    }


def _cell(rng: random.Random, kind: str, options: dict[str, Any]) -> tuple[str, float]:
    if rng.random() < 0.1:
        absent = options["missing"] + ([""] if options["delimiter"] not in ("whitespace", " ") else [])
        if absent:
            return rng.choice(absent), math.nan
    if kind == "boolean":
        word = rng.choice(["true", "False", "YES", "no"])
        return word, float(word.lower() in ("true", "yes"))
    if kind == "date":
        time = EPOCH + datetime.timedelta(days=rng.randint(-30_000, 30_000))
        if rng.random() < 0.3 and options["delimiter"] not in ("whitespace", " "):
            time += datetime.timedelta(microseconds=rng.randrange(86_400_000_000))
            return time.isoformat(rng.choice(" T")), (time - EPOCH) / datetime.timedelta(days=1)
        return time.date().isoformat(), float((time - EPOCH).days)
    number = rng.choice([rng.gauss(0, 1), rng.gauss(0, 1e6), float(rng.randint(-9, 9)), rng.gauss(0, 1e-8)])
    spec = rng.choice(["{:r}", "{:.3f}", "{:e}", "{:+.2f}", "{:,.2f}"])
    plain = repr(number) if spec == "{:r}" else spec.format(number)
    value = float(plain.replace(",", ""))
    if options["thousands"]:
        plain = plain.replace(",", "t").replace(".", options["decimal"]).replace("t", options["thousands"])
    else:
        plain = plain.replace(",", "").replace(".", options["decimal"])
    if "-999" in options["missing"] and value == -999:
        value = math.nan
    if kind == "percent":
        return plain + rng.choice(
            ["%", " %"] if options["delimiter"] not in ("whitespace", " ") else ["%"]
        ), value / 100
    return plain, value


def _quoted(rng: random.Random, cell: str, options: dict[str, Any]) -> str:
    must = " " in cell and options["delimiter"] in ("whitespace", " ")
    return f'"{cell}"' if must or rng.random() < 0.1 else cell


def _joined(rng: random.Random, row: list[str], options: dict[str, Any]) -> str:
    delimiter = options["delimiter"]
    if delimiter in ("whitespace", " "):
        blanks = [" ", "  ", "\t"] if rng.random() < 0.5 else [" "]
        ends = ["", " ", "\t"]
        cells = [cell if " " not in cell or cell[0] == '"' else f'"{cell}"' for cell in row]
        return rng.choice(ends) + "".join(c + rng.choice(blanks) for c in cells[:-1]) + cells[-1] + rng.choice(ends)
    sign = {"tab": "\t"}.get(delimiter, delimiter)
    return sign.join(f'"{cell}"' if sign in cell else cell for cell in row)


def _looks_like_names(row: list[str]) -> bool:
    return len(row) < 4  # a label and a few cells may look like names: then the header has no mark


def _encoded(rng: random.Random, text: str, options: dict[str, Any]) -> bytes:
    if options["encoding"] == "auto":
        return text.encode(rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32"]))
    return text.encode(options["encoding"])


# --- The second reading -----------------------------------------------------------------------------------------------


def reference(case: Case) -> tuple[list[str], Values] | None:
    """Labels and features; None where the table has a fault."""
    text = _decoded(case.text, case.options["encoding"])
    if text is None:
        return None
    lines = re.split(r"(\r\n|\r|\n)", text)
    comment, blank = case.options["comment"], case.options["delimiter"] in ("whitespace", " ")
    for at in range(0, len(lines), 2):
        if comment and lines[at].lstrip(" \t").startswith(comment):
            lines[at] = ""
        if blank:
            cells = re.findall(r'(?:"[^"]*"|[^ \t])+', lines[at])
            lines[at] = " ".join(cells)
    if any("\0" in line for line in lines):
        return None
    delimiter = {"tab": "\t", "whitespace": " "}.get(case.options["delimiter"], case.options["delimiter"])
    source = _Ends(io.StringIO("".join(lines), newline=""))
    rows = []
    try:
        for row in csv.reader(source, delimiter=delimiter):
            if source.ended:  # inside a quote
                return None
            rows += [row] if row else []
    except csv.Error:
        return None
    if case.options["header"] == "yes":
        names = [name.strip() for name in rows[0]] if rows else []
        filled = [name for name in names if name]  # a column without a name is called by its number
        if len(set(filled)) < len(filled):
            return None
        rows = rows[1:] if names and all(len(row) == len(names) for row in rows) else []
    if not rows or len({len(row) for row in rows}) > 1 or len(rows[0]) < 2:
        return None
    if any("\n" in row[0] or "\r" in row[0] for row in rows):
        return None
    values = [_column([row[i] for row in rows], case.options) for i in range(1, len(rows[0]))]
    if any(column is None for column in values):
        return None
    return [row[0] for row in rows], [list(row) for row in zip(*values, strict=True)]  # type: ignore[arg-type]


class _Ends:
    """Lines that know when they were asked for one too many."""

    def __init__(self, lines: io.StringIO) -> None:
        self._lines, self.ended = lines, False

    def __iter__(self) -> _Ends:
        return self

    def __next__(self) -> str:
        line = self._lines.readline()
        self.ended = not line
        if not line:
            raise StopIteration
        return line


def has_special_beginning(case: Case) -> bool:
    """Whether the first lines may say how the table is read: a `sep=` line, a header in a comment, R's header."""
    text = _decoded(case.text, case.options["encoding"]) or ""
    filled = [line.strip(" \t\ufeff") for line in re.split(r"\r\n|\r|\n", text) if line.strip(" \t\ufeff")]
    mark = case.options["comment"] or "#"
    if not filled or filled[0].startswith(("sep=", '"sep=')) or filled[0].startswith(mark):
        return True
    if case.options["header"] == "no":
        return False
    rows = [line for line in filled if not (case.options["comment"] and line.startswith(mark))]
    widths = {len(_cells(line, case.options)) for line in rows[1:]}
    return widths == {len(_cells(rows[0], case.options)) + 1}


def _cells(line: str, options: dict[str, Any]) -> list[str]:
    if options["delimiter"] in ("whitespace", " "):
        return re.findall(r'(?:"[^"]*"|[^ \t])+', line)
    return next(csv.reader([line], delimiter={"tab": "\t"}.get(options["delimiter"], options["delimiter"])), [])


def _decoded(data: bytes, encoding: str) -> str | None:
    marks = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    marks |= {b"\xef\xbb\xbf": "utf-8"}
    found = next((name for mark, name in marks.items() if data.startswith(mark)), None)
    try:
        return data.decode(found or ("utf-8" if encoding == "auto" else encoding)).removeprefix("\ufeff")
    except UnicodeError:
        return None


def _column(cells: list[str], options: dict[str, Any]) -> list[float] | None:
    kind, values = None, []
    for cell in cells:
        text = cell.strip(" \t")
        number = _number(text, options)
        markers = [float(m) for m in options["missing"] if re.fullmatch(r"-?\d+", m)]
        if text in ("", *options["missing"]) or (number is not None and number in markers):
            values.append(math.nan)
            continue
        found = _value(text, number, options)
        if found is None or kind not in (None, found[0]):
            return None
        kind = found[0]
        if abs(found[1]) >= TOO_LARGE:
            return None
        values.append(found[1])
    return values


def _value(text: str, number: float | None, options: dict[str, Any]) -> tuple[str, float] | None:
    if number is not None:
        return "number", number
    if text.lower() in ("true", "false", "yes", "no"):
        return "boolean", float(text.lower() in ("true", "yes"))
    if text[-1:] == "%":
        share = _number(text[:-1].rstrip(" \t"), options)
        return None if share is None else ("percent", share / 100)
    if re.fullmatch(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?",
        text,
    ):
        try:
            time = datetime.datetime.fromisoformat(text)
        except ValueError:
            return None
        offset = time.utcoffset() or datetime.timedelta()
        return "date", (time.replace(tzinfo=None) - offset - EPOCH) / datetime.timedelta(days=1)
    return None


def _number(text: str, options: dict[str, Any]) -> float | None:
    found = re.fullmatch(r"([+-]?)(.*?)([eE][+-]?[0-9]+)?", text, re.DOTALL)
    assert found is not None
    sign, digits, exponent = found[1], found[2], found[3] or ""
    whole, mark, rest = digits.partition(options["decimal"])
    if options["thousands"]:
        groups = re.split(r"[ \u00a0\u202f]" if options["thousands"] == " " else re.escape(options["thousands"]), whole)
        if len(groups) > 1 and (not 1 <= len(groups[0]) <= 3 or any(len(group) != 3 for group in groups[1:])):
            return None
        whole = "".join(groups)
    if not re.fullmatch("[0-9]*", whole + rest) or not whole + rest:
        return None
    return float(f"{sign}{whole}{'.' if mark else ''}{rest}{exponent}")
