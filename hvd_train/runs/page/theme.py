"""Charts of matplotlib as SVG that takes its colours from the page, so that they are right on light and on dark.

    picture = svg(lambda figure: figure.subplots().plot([1, 2], color=SERIES[0]), label="The loss by epoch")

matplotlib has fixed colours. So a chart is drawn in the ones of this table, which nothing else uses, and each is then
replaced by a variable of the page's style sheet.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#010203", "#010204", "#010205", "#010206"
SERIES = ("#010301", "#010302", "#010303", "#010304", "#010305", "#010306")
"""For lines and bars. A seventh line takes the first colour again, with other dashes."""
DASHES = ("-", "--", ":")
HEAT = tuple(f"#0104{step:02x}" for step in range(10))
"""From no rows to the most rows."""
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    **{colour: f"--series-{number}" for number, colour in enumerate(SERIES, 1)},
    **{colour: f"--heat-{number}" for number, colour in enumerate(HEAT)},
}
_HEADER = re.compile(r"^.*?<svg[^>]*?viewBox=\"([^\"]*)\"[^>]*>", re.DOTALL)
# Groups are numbered from 1 in each chart, and an id may stand once in a page.
_GROUP_IDS = re.compile(r' id="[A-Za-z][\w.]*_\d+"')


def svg(draw: Callable[[Figure], None], *, label: str, size: tuple[float, float] = (6.4, 3.2)) -> str:
    """What `draw` puts on a figure of that size in inches, as an <svg> element that scales with its column.

    `label` describes it to people who do not see it.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": label,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": MUTED,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "grid.color": GRID,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "font.size": 10,
        "axes.titlesize": 10,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        figure.patch.set_alpha(0.0)
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return _themed(text.getvalue(), label)


def _themed(text: str, label: str) -> str:
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = _GROUP_IDS.sub("", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    # An attribute cannot hold a variable; a style can.
    text = re.sub(r'(fill|stroke)="var\((--[\w-]+)\)"', r'style="\1: var(\2)"', text)
    return _HEADER.sub(
        lambda found: f'<svg viewBox="{found[1]}" role="img" aria-label="{html.escape(label)}">', text, count=1
    ).strip()


def line_style(number: int) -> dict[str, Any]:
    """Colour and dashes of the `number`-th line of a chart, from 0."""
    return {"color": SERIES[number % len(SERIES)], "linestyle": DASHES[number // len(SERIES) % len(DASHES)]}
