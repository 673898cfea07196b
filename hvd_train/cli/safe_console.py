"""rich's console for text that is other people's: no markup, no emoji, no control characters but rich's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from hvd_train.text import printable


class SafeConsole(Console):
    """A console on which a column called [/red] or "\\x1b[2J" is shown as it is written.

    What is printed is translated where it becomes text for the terminal, in tables too; colours and bars are added by
    rich after that.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, soft_wrap=True, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Before it is measured: what is shown is wider than what is not."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
