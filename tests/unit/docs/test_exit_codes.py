"""docs/reference/exit-codes.md against the program: every code that it ends with is in the table, and no other."""

from __future__ import annotations

import ast
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import docs_pages
import pytest

from hvd_train import errors
from hvd_train.processes import MEMORY_RAN_OUT, STOP_SIGNALS, WARNING_SIGNALS

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "reference" / "exit-codes.md"
# Functions that end the process, and which of their arguments is the code.
ENDINGS = {"_exit": 0, "exit": 0, "SystemExit": 0, "end_rank": 1, "end_process": 0, "leave": 0}
KILLED = 128 + signal.SIGKILL


def table() -> dict[int, str]:
    """The meaning of each code on the page."""
    rows = re.findall(r"^\| ([\d, ]+) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    return {int(code): meaning for codes, meaning in rows for code in codes.split(",")}


def subclasses(kind: type) -> Iterator[type]:
    for one in kind.__subclasses__():
        yield one
        yield from subclasses(one)


def of_the_program() -> dict[int, str]:
    """Each code that the program can end with, and where from."""
    codes = {0: "success", MEMORY_RAN_OUT: "MEMORY_RAN_OUT", KILLED: "SIGKILL"}
    for kind in (errors.HvdTrainError, *subclasses(errors.HvdTrainError)):
        if kind.__module__ == errors.__name__:
            codes[kind.exit_code] = kind.__name__  # type: ignore[attr-defined]
    for number in (*STOP_SIGNALS, *WARNING_SIGNALS):
        codes[128 + number] = signal.Signals(number).name
    for file in sorted((ROOT / "hvd_train").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and (number := literal_code(node)) is not None:
                codes[number] = f"{file.relative_to(ROOT)}:{node.lineno}"
    return codes


def literal_code(call: ast.Call) -> int | None:
    """The code that a call ends the process with, where it is written as a number."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    at = ENDINGS.get(name)
    if at is None or len(call.args) <= at:
        return None
    argument = call.args[at]
    return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, int) else None


def test_the_table_has_every_code_of_the_program_and_no_other() -> None:
    program, page = of_the_program(), table()
    assert {code: where for code, where in program.items() if code not in page} == {}
    assert {code: meaning for code, meaning in page.items() if code not in program} == {}


@pytest.mark.parametrize("number", [*STOP_SIGNALS, *WARNING_SIGNALS])
def test_a_signal_is_named_at_its_code(number: int) -> None:
    meaning = table()[128 + number]
    assert (signal.Signals(number).name if number != signal.SIGINT else "Ctrl-C") in meaning


def test_the_literal_codes_are_found() -> None:
    found = [literal_code(node) for node in ast.walk(ast.parse("os._exit(141); end_rank(p, 2, 'x'); f(9); sys.exit(x)")) if isinstance(node, ast.Call)]  # fmt: skip
    assert sorted(code for code in found if code is not None) == [2, 141]


def test_other_pages_name_codes_of_the_table() -> None:
    for page in docs_pages.pages():
        for code in re.findall(r"exit code (\d+)", page.read_text()):
            assert int(code) in table(), page
