"""What reaches a terminal or a log says what it is and does nothing."""

from __future__ import annotations

from hvd_train.printable import one_line, printable


def test_control_characters_are_shown_not_sent() -> None:
    name = "a\x1b]0;title\x07\x9b31m\r\u202eb\udcff"
    assert printable(name) == r"a\x1b]0;title\x07\x9b31m\r\u202eb\udcff"
    assert printable("two\nlines\tand é 中 █") == "two\nlines\tand é 中 █"
    assert one_line("two\nlines\t") == r"two\nlines\t"
