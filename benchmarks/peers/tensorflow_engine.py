"""--engine tensorflow beside Horovod and beside MultiWorkerMirroredStrategy, on two ranks. Dated result.

    python benchmarks/peers/tensorflow_engine.py --venvs .peers --out benchmarks/results       one repeat, added to those of the day

Run it where nothing else runs. compare.py has the rows and the net; a repeat of these four rows takes about a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from compare import NP, OURS, OVER_TENSORFLOW, measured, own_rows, peer_rows, peer_versions  # noqa: E402
from pages import NotMeasured, newest  # noqa: E402
from records import check, header, in_turn, run, save  # noqa: E402

from hvd_train.bench import figures  # noqa: E402
from hvd_train.bench.session import BenchSettings, Session  # noqa: E402
from hvd_train.config.recipes import REFERENCE  # noqa: E402

MIRRORED = "MultiWorkerMirrored, TF 2.15"
ROWS = (OVER_TENSORFLOW, OURS, f"{MIRRORED}, pinned", MIRRORED)
KIND = "tensorflow-engine"


def summary(rates: dict[str, list[float]]) -> dict[str, Any]:
    """The rates, and how many times as fast the engine is, repeat by repeat."""
    found = {}
    for name, values in rates.items():
        ratios = [ours / its for ours, its in zip(rates[OVER_TENSORFLOW], values, strict=True)]
        found[name] = {"samples_per_s": figures.spread(values), "engine_to_it": figures.spread(ratios)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="measured of each run, after the warm-up")
    parser.add_argument("--venvs", type=Path, default=HERE.parents[1] / ".peers")
    parser.add_argument("--out", type=Path, help="directory for the dated results")
    given = parser.parse_args()
    check(parser, out=given.out)
    about = header()
    before: dict[str, list[float]] = {}
    with contextlib.suppress(NotMeasured):
        last = newest(KIND)
        if last["date"][:10] == about["date"][:10] and last["machine"] == about["machine"]:
            before = last["rates"]
    about["versions"] |= peer_versions(given.venvs.resolve())
    plan = BenchSettings(config=REFERENCE, sizes=(1, NP), seconds=given.seconds, num_repeats=1)
    with tempfile.TemporaryDirectory() as scratch, Session(plan, lambda _: None) as session:
        rows = {
            **own_rows(session, Path(scratch)),
            **peer_rows(given.venvs.resolve(), given.seconds, Path(scratch)),
        }
        order = in_turn(ROWS, len(before.get(OURS, ())))
        rates = measured({name: rows[name] for name in order}, 1, lambda _: None)
    added = {name: [*before.get(name, ()), *rates[name]] for name in ROWS}
    save(given.out, KIND, {**about, "rates": added, "rows": summary(added)})


if __name__ == "__main__":
    run(main)
