"""How a figure in the unit of the labels is written, which may be joules or the masses of stars."""

from __future__ import annotations


def shown(value: float) -> str:
    """A figure in the labels' unit: four decimals, or four digits where those would be zeros or a long number.

    >>> shown(0.25), shown(0.0), shown(5e-19), shown(-2.0000001e30)
    ('0.2500', '0.0000', '5e-19', '-2e+30')
    """
    return f"{value:.4f}" if value == 0 or 1e-4 <= abs(value) < 1e9 else f"{value:.4g}"
