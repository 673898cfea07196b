"""From what rounds measured to the figures of a table: pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hvd_train.bench.figures import spread
from wire.rates import mbit_per_s

# Of an Ethernet frame of 1,514 bytes TCP carries 1,448.
HEADERS = 1514 / 1448
HEADS = ("hosts x ranks, recipe, program", "Mbit/s", "ms a step", "without exchange", "MB sent", "least", "limit, ms",
         "of no exchange", "of the limit")  # fmt: skip


def least_bytes(gradient_bytes: float, num_hosts: int) -> float:
    """What each host must send to add up all gradients: 2 (H - 1) / H of them."""
    return 2 * (num_hosts - 1) / num_hosts * gradient_bytes


def wire_ms(num_bytes: float, rate: str) -> float:
    """The time that a link needs for so many bytes of gradients."""
    limit = mbit_per_s(rate)
    return 0.0 if limit is None else num_bytes * HEADERS * 8 / limit / 1e3


def rows(result: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """By row and rate of the links."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row, by_rate in result["measured"].items():
        if " " in row and "x" in row.split()[0]:
            found[row] = {rate: of_rounds(row, rate, rounds, result) for rate, rounds in by_rate.items()}
        else:
            found[row] = {rate: {name: spread([one[name] for one in rounds]) for name in ("ms", "cpu_ms")}
                          for rate, rounds in by_rate.items()}  # fmt: skip
    return found


def of_rounds(row: str, rate: str, rounds: list[dict[str, float]], result: Mapping[str, Any]) -> dict[str, Any]:
    layout, name, system = row.split()
    # A peer's network is ours.
    about = result["about rows"].get(row) or result["about rows"][f"{layout} {name} ours"]
    least = least_bytes(about["gradient_bytes"], int(layout.split("x")[0])) / (2 if system == "bfloat16" else 1)
    limits = [max(one["alone_ms"], wire_ms(least, rate)) for one in rounds]
    measured = ("step_ms", "alone_ms", "cpu_ms", "sent_bytes")
    return {
        **{what: spread([one[what] for one in rounds]) for what in measured if what in rounds[0]},
        "least_bytes": least,
        "limit_ms": spread(limits),
        "of_alone": spread([one["alone_ms"] / one["step_ms"] for one in rounds]),
        "of_limit": spread([limit / one["step_ms"] for limit, one in zip(limits, rounds, strict=True)]),
    }


def lines(rows: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """Of each row and rate a line of HEADS."""
    for row, by_rate in rows.items():
        *where, system = row.split() if "x" in row.split()[0] else (row,)
        title = ", ".join([*where, names.get(system, system)])
        for rate, one in by_rate.items():
            if "ms" in one:
                yield title, rate, of(one["ms"]), "", "", "", "", "", ""
                continue
            sent, least = (f"{num_bytes / 1e6:.2f}" for num_bytes in (one["sent_bytes"]["median"], one["least_bytes"]))
            figures = (of(one[name]) for name in ("step_ms", "alone_ms", "limit_ms", "of_alone", "of_limit"))
            step, alone, *rest = figures
            yield title, rate, step, alone, sent, least, *rest


def of(figures: Mapping[str, float]) -> str:
    return f"{figures['median']:.2f} ({figures['min']:.2f} to {figures['max']:.2f})"
