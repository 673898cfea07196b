"""Text that says the same on a terminal and in a log as it does to a program: no control characters.

Names of columns, classes and files are other people's. An escape sequence in one could colour, move or retitle a
terminal, or hide what a message says.
"""

from __future__ import annotations

_KEPT = "\n\t"
# C0 and C1 controls, line separators, marks that change the direction of writing, and halves of characters (a file's
# name that is not UTF-8).
_RANGES = ((0, 31), (127, 159), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x2069), (0xD800, 0xDFFF))
_SHOWN = {
    code: ascii(chr(code))[1:-1]
    for first, last in _RANGES
    for code in range(first, last + 1)
    if chr(code) not in _KEPT
}  # fmt: skip
_IN_A_LINE = _SHOWN | {ord(character): ascii(character)[1:-1] for character in _KEPT}


def printable(text: str) -> str:
    r"""`text` with control characters as Python writes them; lines and tabs stay.

    >>> printable("\x1b[31mred\r\n")
    '\\x1b[31mred\\r\n'
    """
    return text.translate(_SHOWN)


def one_line(text: str) -> str:
    """Likewise for a name inside a line."""
    return text.translate(_IN_A_LINE)


def is_formula(value: int | str) -> bool:
    """Whether a spreadsheet would take this text, in a cell of a CSV, for a formula, and run it."""
    return isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def without_formulas(values: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """An apostrophe before each text that would be one: a spreadsheet then shows it as it is.

    >>> without_formulas(("=1+1", "rock", -3))
    ("'=1+1", 'rock', -3)
    """
    return tuple(f"'{value}" if is_formula(value) else value for value in values)
