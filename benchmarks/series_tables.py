"""The section of docs/reference/results.md on series: accuracy on sets of the UCR and UEA archives, next to published figures."""

from __future__ import annotations

from typing import Any

from pages import NotMeasured, measured, newest, table

# Accuracy on the default split: results.csv of github.com/MSD-IRIMAS/LITE (arXiv 2409.02869). InceptionTime and LITETime
# average five networks. BasicMotions and JapaneseVowels are not in it: papers on the UEA archive have them.
SERIES_HEADS = ("FCN", "ResNet", "InceptionTime", "LITETime", "MultiROCKET")
SERIES: dict[str, tuple[float | None, ...]] = {
    "ItalyPowerDemand": (0.963, 0.962, 0.965, 0.967, 0.968),
    "ArrowHead": (0.840, 0.838, 0.851, 0.840, 0.869),
    "BasicMotions": (1.0, 1.0, 1.0, 1.0, 1.0),
    "JapaneseVowels": (0.973, None, None, None, None),
    "PickupGestureWiimoteZ": (0.744, 0.704, 0.760, 0.780, 0.840),
    "OSULeaf": (0.968, 0.980, 0.934, 0.955, 0.955),
    "ACSF1": (0.896, 0.916, 0.940, 0.910, 0.920),
    "PLAID": (0.904, 0.940, 0.942, 0.920, 0.935),
    "PigCVP": (0.804, 0.918, 0.962, 0.947, 0.870),
}


def series() -> str:
    document = newest("series")
    rows = []
    for name, of in document["sets"].items():
        ours = [
            f"**{of['ensemble']:.3f}** ({of['members']})",
            f"{of['single']['mean']:.3f} ± {of['single']['std']:.3f}",
        ]
        published = ["" if figure is None else f"{figure:.3f}" for figure in SERIES[name]]
        rows.append([name, f"{of['train']:,}", *ours, f"{of['seconds']:.0f} s", *published])
    rows.append(["mean of the sets with all figures", "", *means(document["sets"])])
    missing = [name for name in SERIES if name not in document["sets"]]
    still = f"\nNot measured yet: {', '.join(missing)}.\n" if missing else ""
    heads = ["set", "train series", "ours averaged (of how many)", "ours, one network", "time", *SERIES_HEADS]
    return f"""## Series

Accuracy on the test series of the default split: sets of the UCR and UEA archives that lie inside packages of PyPI. Ours is the recipe
`{document["recipe"]}` (`{document["model"]}`), with the same settings on every set: networks of other seeds averaged, and the mean and
standard deviation of one. The time is that of all of them on one core{busy(document["sets"])}. The columns to the right are published
([LITE](https://arxiv.org/abs/2409.02869), `results.csv` of its repository). Those of BasicMotions and JapaneseVowels are from papers on the UEA archive.

The settings follow the papers, and were not searched, but for the transform. {choices()}While the recipe was made, the test accuracy of ItalyPowerDemand, ArrowHead and
BasicMotions was seen, so the figures of these three may flatter.

{table(heads, rows)}
{still}
{measured(document)}
"""


def means(sets: dict[str, Any]) -> list[str]:
    """Our mean accuracy, of networks averaged and of one, and the published ones, over the sets that have every figure."""
    names = [name for name in sets if None not in SERIES[name]]
    averages = [
        sum(sets[name]["ensemble"] for name in names),
        sum(sets[name]["single"]["mean"] for name in names),
        *map(sum, zip(*(SERIES[name] for name in names), strict=True)),
    ]
    ours, one, *theirs = (f"{total / len(names):.3f}" for total in averages)
    return [f"**{ours}**", one, "", *theirs]


def busy(sets: dict[str, Any]) -> str:
    """What else the machine did, in words, where that was measured."""
    most = max((of.get("load_average", 0.0) for of in sets.values()), default=0.0)
    return f", beside other programs (load averages of up to {most:.0f})" if most > 1.5 else ""


def choices() -> str:
    """How the transform was chosen, or nothing where it was not measured."""
    try:
        document = newest("series-choices")
    except NotMeasured:
        return ""
    parts = [
        f"{name} {', '.join(f'{accuracy:.3f} by `{choice}`' for choice, accuracy in of.items())}"
        for name, of in document["sets"].items()
    ]
    return f"""It was chosen by accuracy on halves of the train series
({len(document["seeds"])} seeds, one network): {"; ".join(parts)}.

"""
