"""The section of docs/reference/results.md on real tables: the recipe `table` next to its peers, and how it was chosen."""

from __future__ import annotations

import json
from typing import Any

from pages import NotMeasured, about_of, measured, newest, spread, table


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

{table(heads, rows)}

{measured_by_table(document)}

{choices()}"""


def choices() -> str:
    """How the settings were chosen."""
    how = """Validation rows of these tables chose the settings of the recipe. Up to a quarter of
the test rows of a split are among these, because they are validation rows of another split.
"""
    try:
        document = newest("table-choices")
    except NotMeasured:
        return how
    names = list(document["tables"])
    tried = list(dict.fromkeys(choice for of in document["tables"].values() for choice in of))
    rows = [
        [choice, *(f"{of[choice]:.3f}" if choice in (of := document["tables"][name]) else "" for name in names)]
        for choice in tried
    ]
    splits = ", ".join(map(str, document["splits"]))
    return f"""{how}
Each choice below differs from the recipe in what it names. The figures are the mean RMSE on the validation rows of the splits {splits}. A tenth
of the train rows did what validation rows do in a run, and no test row was read.

{table(["choice", *names], rows)}

{measured(document)}
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
        measured_here = ours.get(about, [])
        of_all = len(measured_here) == len(document["tables"])
        what = [
            *(["the recipe"] if of_all else measured_here),
            *(["the peers on " + ", ".join(peers[about])] if about in peers else []),
        ]
        lines.append(measured(json.loads(about), ", ".join(what)))
    return "\n\n".join(lines)
