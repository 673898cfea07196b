"""POSITIONSxCHANNELS: the shape of a row as the network sees it."""

from __future__ import annotations

from hvd_train.config.section import require


def parse_layout(text: str, *, key: str = "layout") -> tuple[int, int]:
    """Positions and channels of "64x3".

    >>> parse_layout("64x3")
    (64, 3)
    """
    positions, _, channels = text.partition("x")
    well_formed = positions.isdecimal() and channels.isdecimal() and int(positions) > 0 and int(channels) > 0
    require(well_formed, key, text, "it is written POSITIONSxCHANNELS, like 90x1 or 64x3")
    return int(positions), int(channels)
