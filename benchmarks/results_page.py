"""Makes docs/reference/results.md from the newest results in benchmarks/results. Types in no figure.

python benchmarks/results_page.py
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from pages import DOCS, NotMeasured, about_of, measured, newest, renamed, table
from published_tables import published
from series_tables import series

PAGE = DOCS / "reference" / "results.md"


def spread(figure: dict[str, float], percent: bool = False) -> str:
    scale, digits = (100, 2) if percent else (1, 3)
    return f"{scale * figure['mean']:.{digits}f} ± {scale * figure['std']:.{digits}f}"


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
    for name, peer in document["peers"].items():
        seconds = peer["rmse"]["seconds"] + peer["mae"]["seconds"]
        rows.append([name, spread(peer["rmse"]), spread(peer["mae"]), f"{seconds:.0f} s, tuning included"])
    lines, how = [measured(document)], ""
    with contextlib.suppress(NotMeasured):
        boosted = newest("songs-boosted")
        for name, peer in boosted["peers"].items():
            rows.append([name, spread(peer["rmse"]), "", f"{peer['seconds']:.0f} s, tuning included"])
        how = f"\n{', '.join(boosted['peers'])} are tuned on the validation rows, for the RMSE alone."
        lines.append(measured(boosted, ", ".join(boosted["peers"])))
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


def tables() -> str:
    document = newest("tables")
    rows = []
    for name, of in document["tables"].items():
        peers = [f"{spread(peer['rmse'])} ({peer['seconds']:.0f} s)" for peer in of["peers"].values()]
        ours = f"**{spread(of['ours']['rmse'])}** ({of['ours']['seconds']:.0f} s)"
        rows.append([name, f"{of['rows']:,}", str(of["splits"]), ours, *peers, spread(of["baseline"]["rmse"])])
    peers = list(next(iter(document["tables"].values()))["peers"])
    heads = ["table", "rows", "splits", f"recipe `{document['recipe']}`", *peers, "always the mean"]
    means = [[of["ours"]["rmse"]["mean"], *(of["peers"][peer]["rmse"]["mean"] for peer in peers)] for of in document["tables"].values()]  # fmt: skip
    ranks = [sum(mean_ranks) / len(means) for mean_ranks in zip(*map(ranked, means), strict=True)]
    rows.append(["mean rank", "", "", f"**{ranks[0]:.1f}**", *(f"{rank:.1f}" for rank in ranks[1:]), ""])
    return f"""## Real tables of numbers

RMSE on the test rows, mean and standard deviation over splits that come with the tables (UCI). In brackets are the seconds on one core for
one split. The recipe has the same settings on every table. CatBoost, LightGBM and XGBoost are tuned on the validation rows, and stop early
on them. scikit-learn's model is tuned by cross-validation on train and validation rows. The times of the peers include their tuning.
The rank 1 is that of the lowest RMSE of a table.

Validation rows of concrete, energy, wine-red and kin8nm chose the settings of the recipe. Up to a quarter of
the test rows of a split are among these, because they are validation rows of another split.

{table(heads, rows)}

{measured_by_table(document)}
"""


def ranked(figures: list[float]) -> list[int]:
    """The rank of each figure: 1 for the lowest."""
    return [1 + sum(other < figure for other in figures) for figure in figures]


def measured_by_table(document: dict[str, Any]) -> str:
    """When and where the tables were measured: one line, or one for each group of tables, and of their peers, that differs."""
    whole = about_of(document)
    ours: dict[str, list[str]] = {}
    peers: dict[str, list[str]] = {}
    for name, of in document["tables"].items():
        about, of_peers = (json.dumps(of.get(key, whole), sort_keys=True) for key in ("about", "peers_about"))
        ours.setdefault(about, []).append(name)
        if of_peers != about:
            peers.setdefault(of_peers, []).append(name)
    if len(ours) == 1 and not peers:
        return measured(json.loads(next(iter(ours))))
    lines = []
    for about in dict.fromkeys([*ours, *peers]):
        what = [*ours.get(about, []), *(["the peers on " + ", ".join(peers[about])] if about in peers else [])]
        lines.append(measured(json.loads(about), ", ".join(what)))
    return "\n\n".join(lines)


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
