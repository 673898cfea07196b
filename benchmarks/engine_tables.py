"""The tables of docs/how-to/tensorflow-engine.md: what programs measured and tried. `performance_tables.py` writes them."""

from __future__ import annotations

from typing import Any

from pages import source, table

NAMES = {
    "hvd_train, engine tensorflow": "`--engine tensorflow`",
    "hvd_train": "`--engine horovod`",
    "MultiWorkerMirrored, TF 2.15": "MultiWorkerMirroredStrategy, TensorFlow 2.15",
    "MultiWorkerMirrored, TF 2.15, pinned": "MultiWorkerMirroredStrategy, TensorFlow 2.15, pinned to cores",
}


def tensorflow_engine(found: dict[str, Any]) -> str:
    """Samples a second over two ranks, and how many times as fast the engine is."""
    result = found["tensorflow-engine"]
    lines = []
    for name, row in sorted(result["rows"].items(), key=lambda item: -item[1]["samples_per_s"]["median"]):
        rate, ratio = row["samples_per_s"], row["engine_to_it"]
        lines.append(
            (NAMES[name], f"{rate['median']:,.0f}", f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})")
        )
    repeats = next(iter(result["rows"].values()))["samples_per_s"]["repeats"]
    head = ("", "samples/s over both ranks", f"`--engine tensorflow` against it (median and range of {repeats})")
    return table(head, lines) + source(result)


def strategies(found: dict[str, Any]) -> str:
    """What becomes of TensorFlow's and Keras' own ways."""
    result = found["strategies"]
    lines = [(name, way["versions"], words(way)) for name, way in result["ways"].items()]
    return table(("way", "versions", "outcome"), lines) + source(result)


def words(way: dict[str, Any]) -> str:
    if way["trains"]:
        return "trains to the end"
    if None in way["exit_codes"]:
        return "does not end"
    return f"fails: `{way['error']}`" if way["error"] else f"fails with exit codes {way['exit_codes']}"


def kill_engine(found: dict[str, Any]) -> str:
    """Kill -9 of a rank, again and again."""
    result = found["kill-engine"]
    ends = result["ended_after_s"]
    lines = [
        ("kills of a rank at a random moment", str(result["number"])),
        ("jobs that ended with an error", str(result["nonzero"])),
        ("jobs that named the rank", str(result["named"])),
        ("seconds from the kill to the end of the job: median", f"{ends['median']:.1f}"),
        ("most", f"{ends['max']:.1f}"),
        ("processes that are left over", str(result["left_behind"] or "none")),
        ("arrays, losses or metrics that differ from the run without kills", str(len(result["differences"]) or "none")),
    ]
    return table((f"{result['ranks']} ranks, `--watchdog-s {result['watchdog_s']:g}`", ""), lines) + source(result)


def spark_kills(found: dict[str, Any]) -> str:
    """Kill -9 of a rank on Spark, again and again, under either engine."""
    results = [found["spark-kills-horovod"], found["spark-kills-tensorflow"]]
    trials = [[trial for trial in result["trials"] if trial["outcome"] != "ended before"] for result in results]
    rows: dict[str, list[str]] = {
        "kills of a rank at a random moment": [str(len(seen)) for seen in trials],
        "jobs that ended with an error that names the rank and its host": [
            str(sum(trial["outcome"] == "named" for trial in seen)) for seen in trials
        ],
        "seconds from the kill to the end of the job: median": [
            f"{result['end_s']['median']:.1f}" for result in results
        ],
        "most": [f"{result['end_s']['max']:.1f}" for result in results],
        "processes that are left over": [str(sum(len(t["left"]) for t in seen) or "none") for seen in trials],
        "largest relative difference of a loss from the run without kills": [
            f"{result['largest_difference']:.1e}" if result["largest_difference"] else "none" for result in results
        ],
    }
    head = ("two ranks on two executors", *(f'`engine="{result["engine"]}"`' for result in results))
    return table(head, [(name, *values) for name, values in rows.items()]) + source(results[-1])
