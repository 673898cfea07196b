"""The tables of docs/how-to/slow-links.md. `performance_tables.py` writes them."""

from __future__ import annotations

from typing import Any

from pages import NotMeasured, date_of, machine_of, table


def local_steps(found: dict[str, Any]) -> str:
    """Quality by local steps and virtual workers."""
    result = found["local-steps"]
    rows = result["rows"]
    base = next((row for row in rows if row["local_steps"] == 1), None)
    if base is None:  # nothing to compare with
        raise NotMeasured("local-steps")
    lines = []
    for row in rows:
        steps = str(row["local_steps"])
        name = f"`--local-steps {steps} --virtual-workers {row['virtual_workers']}`"
        lines.append(
            [
                "an average in every step" if row is base else name,
                figure(row["loss"]),
                f"{row['loss']['mean'] - base['loss']['mean']:+.4f}",
                figure(row["rmse"]),
            ]
        )
    given = result["config"]
    text = table(("", "test loss", "against every step", "test RMSE, years"), lines)
    seeds = {row["seeds"] for row in rows}
    return (
        f"{text}\n\n{given['num_songs']:,} songs, {given['epochs']} epochs of 256 steps with a global batch of "
        f"{given['global_batch_size']}. {'One seed' if max(seeds) == 1 else f'Mean and standard deviation of {min(seeds)} seeds'}. "
        f"Measured {date_of(result)[:10]} on {machine_of(result)} (`benchmarks/results/{result['file']}`)."
    )


def figure(values: dict[str, float]) -> str:
    return f"{values['mean']:.4f}" + (f" ± {values['std']:.4f}" if values["std"] else "")


def slow_links(found: dict[str, Any]) -> str:
    """Samples a second by local steps and link."""
    result = found["slow-links"]
    rows = {(row["rate"], row["local_steps"]): row["median"] for row in result["rows"]}
    links = sorted({rate for rate, _ in rows}, key=float, reverse=True)
    lines = [
        [
            "an average in every step" if steps == 1 else f"`--local-steps {steps}`",
            *(rate_of(rows, rate, steps) for rate in links),
        ]
        for steps in sorted({steps for _, steps in rows})
    ]
    text = table(("samples/s over both hosts", *(f"{float(rate):,.0f} Mbit/s" for rate in links)), lines)
    repeats = min(len(row["samples_per_s"]) for row in result["rows"])
    return (
        f"{text}\n\nTwo hosts with a core and a rank each, reference CNN, local batch of 256. "
        f"{'One run each' if repeats == 1 else f'Median of {repeats}'}. Measured {date_of(result)[:10]} on "
        f"{machine_of(result)} (`benchmarks/results/{result['file']}`)."
    )


def rate_of(rows: dict[tuple[str, int], float], rate: str, steps: int) -> str:
    """Samples a second, and how many times those of an average in every step; empty where it was not measured."""
    here = rows.get((rate, steps))
    return f"{here:,.0f} ({here / rows[rate, 1]:.1f} x)" if here else ""


def cost_model(found: dict[str, Any]) -> str:
    """The predictions of the cost model beside measurements in the laboratory."""
    result = found["cost-model"]
    lines = [
        [
            f"{row['hosts']} hosts, {row['link']}",
            f"{1000 * row['measured_s']:.2f}",
            f"{1000 * row['predicted_s']:.2f}",
            "calibrated here" if row["calibrated"] else f"{100 * (row['predicted_s'] / row['measured_s'] - 1):+.0f} %",
        ]
        for row in result["rows"]
    ]
    text = table(("", "measured ms", "predicted ms", "error"), lines)
    return f"{text}\n\nMeasured {date_of(result)[:10]} on {machine_of(result)} (`benchmarks/results/{result['file']}`)."
