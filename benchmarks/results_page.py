"""Makes docs/reference/results.md from the newest results in benchmarks/results. Types in no figure.

python benchmarks/results_page.py
"""

from __future__ import annotations

import contextlib
from typing import Any

from pages import DOCS, NotMeasured, measured, newest, renamed, spread, table
from published_tables import published
from real_tables import tables
from series_tables import series

PAGE = DOCS / "reference" / "results.md"


def leaves() -> str:
    document = newest("leaves")
    rows = []
    for name, ours in document["ours"].items():
        rows.append(
            [f"**{name}**", spread(ours["metrics"]["accuracy"], True), spread(ours["binary_accuracy"], True), spread(ours["metrics"]["loss"]), f"{ours['seconds']:.0f} s"]
        )  # fmt: skip
    for name, peer in document["peers"].items():
        rows.append(
            [name, spread(peer["accuracy"], True), "", "", f"{peer['accuracy']['seconds']:.0f} s, tuning included"]
        )
    rows.append(["predicting nothing", "1.01", f"{100 * (1 - 1 / 99):.2f}", "", ""])
    text = table(["model", "accuracy, %", "what Keras calls accuracy, %", "loss", "time per split"], rows)
    return f"""## Leaves

792 leaves of 99 species, 192 numbers each. Five stratified splits, each with four fifths of the rows for training. Mean and
standard deviation over the splits.

The second column is what Keras calls accuracy for one-hot labels under binary cross-entropy. A model that predicts nothing
has 98.99 % there. An earlier project reported this figure for its leaves, and its true accuracy was 95.96 %.
scikit-learn's models are tuned by cross-validation on the train rows of each split.

{text}

{measured(document)}
"""


def songs() -> str:
    document = newest("songs")
    rows = []
    for name, ours in document["ours"].items():
        rows.append(
            [f"**{name}**", spread(ours["metrics"]["rmse"]), spread(ours["metrics"]["mae"]), f"{ours['seconds']:.0f} s"]
        )
    peers, lines, how = dict(document["peers"]), [measured(document)], ""
    with contextlib.suppress(NotMeasured):
        boosted = newest("songs-boosted")
        peers |= boosted["peers"]
        how = f"\n{', '.join(boosted['peers'])} are tuned by the validation rows, once for each column, too."
        lines.append(measured(boosted, ", ".join(boosted["peers"])))
    for name, peer in peers.items():
        seconds = peer["rmse"]["seconds"] + peer["mae"]["seconds"]
        rows.append([name, spread(peer["rmse"]), spread(peer["mae"]), f"{seconds:.0f} s, tuning included"])
    base = next(iter(document["ours"].values()))["baselines"]
    rows.append(["always the mean; always the median", spread(base["rmse"]), spread(base["mae"]), ""])
    text, about = table(["model", "RMSE, years", "MAE, years", "time per split"], rows), "\n\n".join(lines)
    return f"""## Real songs: 3,750 of them, 54 features

Five seeded random splits, each with four fifths of the rows for training. The artists are not known, so songs of one artist
may be on both sides. That flatters every row of this table alike. No row shows how well a song of a new artist is dated.

Each of scikit-learn's models is tuned twice by cross-validation on the train rows of each split, once for each column. For
MAE, gradient boosting may choose the absolute error as its loss. Ours is one model, and the columns are its mean and median.{how}

{text}

{about}
"""


def synthetic() -> str:
    document = newest("synthetic-recipes")
    rows = []

    def share(figure: float, base: float, best: float) -> str:
        return f"{(figure - base) / (best - base):.3f}"

    if not document["ours"]:
        raise NotMeasured("synthetic-recipes")
    first = next(iter(document["ours"].values()))
    base, best = first["baselines"]["test"], first["optimum"]["test"]
    for name, ours in document["ours"].items():
        m = ours["metrics"]["test"]
        rows.append(
            [f"**{renamed(name)}**", f"{m['rmse']:.3f}", f"{m['rmse'] / best['rmse']:.4f}", share(m["rmse"], base["rmse"], best["rmse"]),
             f"{m['mae']:.3f}", f"{100 * m['accuracy']:.2f} %", f"{m['accuracy'] / best['accuracy']:.3f}", share(m["accuracy"], base["accuracy"], best["accuracy"]),
             f"{ours['train_seconds'] / 60:.1f} min"]
        )  # fmt: skip
    for name, peer in document.get("peers", {}).items():
        seconds, rmse = sum(of["seconds"] for of in peer.values()) / 60, peer["rmse"]["test"]
        mae = f"{peer['mae']['test']:.3f}" if "mae" in peer else ""
        rows.append([name, f"{rmse:.3f}", f"{rmse / best['rmse']:.4f}", share(rmse, base["rmse"], best["rmse"]), mae, "", "", "", f"{seconds:.1f} min"])  # fmt: skip
    rows.append(["trivial predictors", f"{base['rmse']:.3f}", f"{base['rmse'] / best['rmse']:.4f}", "0", f"{base['mae']:.3f}", f"{100 * base['accuracy']:.2f} %", f"{base['accuracy'] / best['accuracy']:.3f}", "0", ""])  # fmt: skip
    rows.append(["best possible", f"{best['rmse']:.3f}", "1", "1", f"{best['mae']:.3f}", f"{100 * best['accuracy']:.2f} %", "1", "1", ""])  # fmt: skip
    heads = ["model", "RMSE", "RMSE / best", "trivial 0 to best 1", "MAE", "exact year", "accuracy / best", "trivial 0 to best 1", "training time"]  # fmt: skip
    commands = {renamed(name): " ".join(renamed(flag) for flag in f) for name, f in document["flags"].items() if name in document["ours"]}  # fmt: skip
    flags = "\n".join(f"- {name}: `hvd-train train --num-songs {document['num_songs']} {f}`" for name, f in commands.items())  # fmt: skip
    return f"""## Synthetic songs at full size, where the best is known

463,715 songs to train and validate on, {51_630:,} to test. They come from a distribution whose posterior over the years is
known ([Synthetic songs](../concepts/synthetic-songs.md)). No model can be better, on average, than the last row.
`synthetic-songs` is cut to this distribution, so its figures show nothing about real songs.

{table(heads, rows)}

{flags}

{passing(document)}
{measured(document)}
"""


def passing(document: dict[str, Any]) -> str:
    """After how many seconds our rows are as good as each peer on the validation rows, or nothing where no peer was measured."""
    peers = {name: of["rmse"] for name, of in document.get("peers", {}).items() if "val" in of["rmse"]}
    if not peers:
        return ""

    def after(ours: dict[str, Any], peer: dict[str, float]) -> str:
        ends = zip(ours["val_rmse"], ours["epoch_ends"], strict=True)
        return next((f"{seconds:.0f} s" for rmse, seconds in ends if rmse <= peer["val"]), "never")

    rows = [
        [f"its own fit, {document['machine']['cores']} cores", *(f"{peer['seconds']:.0f} s" for peer in peers.values())]
    ]
    rows += [
        [f"**{name}**", *(after(ours, peer) for peer in peers.values())] for name, ours in document["ours"].items()
    ]
    return f"""CatBoost, LightGBM and XGBoost have their own default settings, and stop by the validation rows. This is when the validation RMSE of ours is no
higher than theirs at the end. Our seconds count from the command, with the start of all ranks and the reading of the songs.
Those of the peers count their fit alone.

{table(["seconds until the RMSE of", *peers], rows)}
"""


def rare() -> str:
    document = newest("synthetic-rare")
    rows = []
    before = document["rare_before"]
    for name, ours in document["ours"].items():
        decades = ours["details"]["decades"]

        def mean(rare: bool, decades: list[dict[str, float]] = decades) -> str:
            chosen = [row for row in decades if (row["decade"] < before) == rare]
            return f"{sum(r['mae'] * r['rows'] for r in chosen) / sum(r['rows'] for r in chosen):.2f}"

        m = ours["metrics"]["test"]
        rows.append(
            [f"**{name}**", mean(True), mean(False), f"{ours['details']['balanced_mae']:.2f}",
             f"{100 * ours['details']['macro_accuracy_by_decade']:.1f} %", f"{m['mae']:.2f}", f"{m['rmse']:.2f}", f"{100 * m['accuracy']:.2f} %",
             f"{ours['best_epoch']} of {ours['epochs']}"]
        )  # fmt: skip
    heads = [
        "method",
        f"MAE before {before}",
        f"MAE from {before}",
        "balanced MAE",
        "decades right, balanced",
        "MAE",
        "RMSE",
        "exact year",
        "kept epoch",
    ]
    return f"""## Rare years

An ablation of the methods for imbalance, with one network (`synthetic-songs`) and {document["num_songs"]:,} synthetic songs.

- *Balanced MAE* is the mean over the years of the mean error of each year.
- *Decades right, balanced* is the mean over the decades of the share of songs whose most likely decade is the true one.

Balancing improves rare years, and the other columns show the price. The kept epoch is that of the lowest validation loss,
which counts every song alike. Where the last column is 1, the validation loss was never lower than after the first epoch.
Such a row shows a network that has hardly learnt. `--monitor val_balanced_mae` keeps the epoch that is best for rare years.

{table(heads, rows)}

{measured(document)}
"""


def page() -> str:
    head = """# Results

What the recipes reach, next to scikit-learn, the trivial baselines and the best possible figures.
`python benchmarks/results_page.py` makes this page from the files in `benchmarks/results/`. The programs in `benchmarks/`
measure it again. Nothing is typed in, except what others published.

Leaves, tables, series and the 3,750 songs are real rows. The songs at full size and those of the rare years are synthetic.
For the real songs at full size there is only what others published, in the last section.

"""
    parts = []
    for title, part in (
        ("Leaves", leaves),
        ("Real songs", songs),
        ("Real tables of numbers", tables),
        ("Series", series),
        ("Synthetic songs", synthetic),
        ("Rare years", rare),
    ):
        try:
            parts.append(part())
        except NotMeasured as kind:
            parts.append(f"## {title}\n\nNot measured yet: `benchmarks/results` has no file of {kind}.\n")
    return head + "\n".join([*parts, published()])


if __name__ == "__main__":
    PAGE.write_text(page())
