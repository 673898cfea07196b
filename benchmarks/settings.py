"""What each setting is worth: the reference CNN on two ranks, with one thing changed at a time, by turns.

    python benchmarks/settings.py --repeats 3 --out benchmarks/results

Run it where nothing else runs. In every repeat each row runs once, back and forth; a row's figure is its samples/s divided by
that of the settings as they come in the same repeat. Also: small batches, twice as many ranks as cores, bfloat16, the share
of a core's matrix-product rate, and where a step's time goes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from records import check, header, in_turn, run, save
from rich.console import Console
from rich.table import Table

from hvd_train.bench import figures
from hvd_train.bench.session import BenchSettings, Session
from hvd_train.config.distributed import AUTOMATIC
from hvd_train.config.recipes import REFERENCE
from hvd_train.distributed.settings import YIELD

NP = 2
AS_IT_COMES = "as it comes"
ONE_CORE = "one process on one core"
Row = Callable[[Session], float]

MATMUL = """
import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
import time, tensorflow as tf
n = 2048
a = tf.random.normal((n, n)); f = tf.function(lambda x: tf.matmul(x, a)); f(a)
best = 1e9
for _ in range(12):
    t = time.perf_counter(); f(a).numpy(); best = min(best, time.perf_counter() - t)
print(2 * n**3 / best)
"""


def ranks(size: int = NP, env: dict[str, str] | None = None, **changes: Any) -> Row:
    config = REFERENCE.replace(**changes)
    return lambda session: figures.samples_per_s(session.ranks(size, config, env=env)["ranks"])


def apart(**changes: Any) -> Row:
    config = REFERENCE.replace(**changes)
    return lambda session: figures.samples_per_s_apart(session.independent(NP, config)["ranks"])


def without(*names: str) -> dict[str, Any]:
    return {"distributed": {"automatic": tuple(n for n in AUTOMATIC if n not in names)}}


# mpi-yield and launch are not in use here, quiet makes nothing faster; the cycle time is nothing without wake.
OFF = ("affinity", "threads", "shared-memory", "shared-update", "wake", "fusion", "primitives")
SMALL = {"training": {"local_batch_size": 32}}
BFLOAT16 = {"training": {"precision": "bfloat16"}}
ROWS: dict[str, Row] = {
    AS_IT_COMES: ranks(),
    ONE_CORE: lambda session: figures.samples_per_s_apart(session.independent(1, REFERENCE)["ranks"]),
    "independent processes": apart(),
    "the same again": ranks(),
    **{f"without {name}": ranks(**without(name)) for name in OFF},
    "without shared-memory and fusion": ranks(**without("shared-memory", "fusion")),
    "without wake and cycle-time": ranks(**without("wake", "cycle-time")),
    "mpi-yield, on cores of their own": ranks(env={YIELD: "1"}),
    "with nothing automatic": ranks(distributed={"automatic": ()}),
    "cycle time 0.05 ms": ranks(distributed={"cycle_time_ms": 0.05}),
    "fusion threshold 0 MB": ranks(distributed={"fusion_threshold_mb": 0}),
    "response cache off": ranks(env={"HOROVOD_CACHE_CAPACITY": "0"}),
    **{f"gradients in {n}": ranks(distributed={"gradient_groups": n}) for n in (2, 4)},
    **{f"allreduce {a}": ranks(distributed={"allreduce": a}) for a in ("recursive-doubling", "ring")},
    "fp16 gradients": ranks(distributed={"compression": "fp16"}),
    "bfloat16": ranks(**BFLOAT16),
    "bfloat16, independent": apart(**BFLOAT16),
    "batch 32": ranks(**SMALL),
    "batch 32, independent": apart(**SMALL),
    "batch 32, without shared-update": ranks(**SMALL, **without("shared-update")),
    "batch 32, without shared-memory": ranks(**SMALL, **without("shared-memory")),
    "4 ranks": ranks(4),
    "4 ranks without mpi-yield": ranks(4, **without("mpi-yield")),
}


def flop_per_sample() -> float:
    """Multiplications and additions of a training step of the reference CNN: forward, and twice that backward but for the input."""
    (first, second), (units,) = REFERENCE.model.filters, REFERENCE.model.dense_units
    taps, length, classes = REFERENCE.model.kernel_size, 90, 90
    conv_1, conv_2 = 2 * length * taps * first, 2 * length * taps * first * second
    dense, output = 2 * length * second * units, 2 * units * classes
    return 3 * (conv_1 + conv_2 + dense + output) - conv_1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument(
        "--limit-s", type=float, default=float("inf"), help="begin no further repeat that would end later"
    )
    parser.add_argument("--only", nargs="*", help="some rows' names")
    parser.add_argument("--out", type=Path, help="directory for the dated results")
    arguments = parser.parse_args()
    check(parser, out=arguments.out, only=arguments.only or (), rows=ROWS)
    rows = {name: row for name, row in ROWS.items() if not arguments.only or name in (AS_IT_COMES, *arguments.only)}
    rates: dict[str, list[float]] = {name: [] for name in rows}
    matmul: list[float] = []
    plan = BenchSettings(config=REFERENCE, sizes=(1, NP), seconds=arguments.seconds, num_repeats=arguments.repeats)
    about = header()

    def keep(parts: dict[str, Any]) -> dict[str, Any]:
        result = result_of(about, rates, matmul) | parts
        if arguments.out:
            save(
                arguments.out,
                "settings",
                result,
                again=arguments.only or (),
                tables=("samples_per_s", "ratio"),
                figures=("matmul_flop_per_s", "share_of_matmul_rate"),
            )
        return result

    with Session(plan, lambda _: None) as session:
        began = time.monotonic()
        for repeat in range(arguments.repeats):
            spent = time.monotonic() - began
            if repeat and spent * (repeat + 1) / repeat > arguments.limit_s:
                break
            matmul.append(float(subprocess.run([sys.executable, "-c", MATMUL], capture_output=True, text=True, check=True,
                                               timeout=120).stdout))  # fmt: skip
            for name in in_turn(rows, repeat):
                rates[name].append(rows[name](session))
                print(f"{repeat + 1}  {name:<28} {rates[name][-1]:>9,.0f}", file=sys.stderr, flush=True)
            keep({})
        show(keep({} if arguments.only else leave_out_parts(session)))


def result_of(about: dict[str, Any], rates: dict[str, list[float]], matmul: list[float]) -> dict[str, Any]:
    """What the repeats so far say."""
    result = {**about, "samples_per_s": rates, "ratio": ratios(rates), "flop_per_sample": flop_per_sample()}
    if ONE_CORE in rates:
        shares = [rate * flop_per_sample() / product for rate, product in zip(rates[ONE_CORE], matmul, strict=True)]
        result |= {"matmul_flop_per_s": figures.spread(matmul), "share_of_matmul_rate": statistics.median(shares)}
    return result


def leave_out_parts(session: Session) -> dict[str, Any]:
    """Where a step's time goes."""
    found = {f"batch {batch}": session.throughput_of(NP, REFERENCE.replace(training={"local_batch_size": batch}))
             for batch in (256, 32)}  # fmt: skip
    for part in found.values():
        part["settings"]["kept"].pop("OPAL_PREFIX", None)  # a path of this machine
    return {"two ranks": found}


def ratios(rates: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    base = rates[AS_IT_COMES]
    return {name: figures.spread([a / b for a, b in zip(values, base, strict=True)]) for name, values in rates.items()}


def show(result: dict[str, Any]) -> None:
    table = Table(title="Two ranks on two cores, 256 rows a rank", title_justify="left")
    for name in ("", "samples/s", "of as it comes"):
        table.add_column(name, justify="right" if name else "left")
    for name, ratio in result["ratio"].items():
        rate = figures.spread(result["samples_per_s"][name])
        table.add_row(
            name, f"{rate['median']:,.0f}", f"{ratio['median']:.3f} ({ratio['min']:.3f} to {ratio['max']:.3f})"
        )
    console = Console(width=100)
    console.print(table)
    for name, part in result.get("two ranks", {}).items():
        shares = ", ".join(f"{what} {100 * share:.1f} %" for what, share in part["shares"].items())
        console.print(f"{name}: {shares}; cores idle {100 * part['idle']:.1f} %")
    if "share_of_matmul_rate" in result:
        console.print(f"One core: {100 * result['share_of_matmul_rate']:.0f} % of its matrix-product rate")


if __name__ == "__main__":
    run(main)
