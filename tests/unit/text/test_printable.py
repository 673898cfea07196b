"""What reaches a terminal or a log says what it is and does nothing."""

from __future__ import annotations

from hvd_train.text.escaping import one_line, printable, without_formulas


def test_control_characters_are_shown_not_sent() -> None:
    name = "a\x1b]0;title\x07\x9b31m\r\u202eb\udcff"
    assert printable(name) == r"a\x1b]0;title\x07\x9b31m\r\u202eb\udcff"
    assert printable("two\nlines\tand é 中 █") == "two\nlines\tand é 中 █"
    assert one_line("two\nlines\t") == r"two\nlines\t"


def test_class_names_are_kept_from_being_formulas_where_asked() -> None:
    names = ('=HYPERLINK("http://x")', "+cmd|' /C calc'!A0", "@SUM(1)", "-x", "\tx", "rock", "a=b", -3, 2001)
    safe = without_formulas(names)
    assert [a == b for a, b in zip(names, safe, strict=True)] == [False] * 5 + [True] * 4
    assert safe[0] == "'" + names[0]  # type: ignore[operator]
