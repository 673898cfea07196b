"""What a step costs between hosts: with and without the exchange, on links of several rates, beside peers and the limit.

    python benchmarks/hosts.py --smoke                                   # seconds: two hosts at 1 Gbit/s
    python benchmarks/hosts.py --out benchmarks/results                  # everything, for half an hour
    python benchmarks/hosts.py --layouts 2x1 --recipes reference --rates 1000 --systems ours ddp
    python benchmarks/hosts.py --hostfile HOSTS --np 4                   # the hosts of a cluster, with the links that they have

Run it where nothing else runs, as root: the hosts are network namespaces of this machine, with cores of their own as long as
there are enough, and links shaped by `tc tbf` (tests/namespaces.py). A layout of HxR is H hosts with R ranks each. In each repeat
every program runs once, back and forth; in a run the rates take turns, and at each rate steps with and without exchange.
`--add` adds repeats to what the day's file has, so that a table can be made in pieces.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hosts_names import BEFORE, CHOSEN, NAMES
from pages import RENAMED
from records import check, file_name, header, in_turn, run
from rich.console import Console
from wire import jobs, rates, summary

from hvd_train.bench.presentation import new_table
from hvd_train.bench.session import with_batch
from hvd_train.config import RunConfig
from hvd_train.config.recipes import recipe
from hvd_train.errors import HvdTrainError
from hvd_train.processes import jobs as processes

HERE = Path(__file__).resolve().parent
LAYOUTS = ("2x1", "2x2", "4x1")
RECIPES = ("reference", "default", "synthetic-songs")
# Mbit/s.
RATES = (rates.UNLIMITED, "25000", "10000", "1000", "100")
NUM_SONGS = 20_000
FLOOR = "plain sockets"
# The links change their rate in a run, and a run chooses its groups once. So the number is given.
OURS, ONE_GROUP, BFLOAT16, FLAT = "ours", "one-group", "bfloat16", "flat"
ALGORITHM = {"OMPI_MCA_coll_tuned_use_dynamic_rules": "1"}
# An allreduce of Open MPI's own choice over all ranks, after the backward pass.
DISTRIBUTED: dict[str, dict[str, Any]] = {
    OURS: {"allreduce": "two-levels", "gradient_groups": 2},
    ONE_GROUP: {"allreduce": "two-levels", "gradient_groups": 1},
    BFLOAT16: {"allreduce": "two-levels", "gradient_groups": 2, "wire_precision": "bfloat16"},
    FLAT: {"allreduce": "mpi", "gradient_groups": 1},
}
# MPI's own settings for TCP between hosts, one change of FLAT at a time, by --mpi-settings. Without what hvd_train sets of them.
OWN_LIMIT = {"OMPI_MCA_btl_tcp_eager_limit": str(64 << 10)}
MPI_SETTINGS: dict[str, dict[str, str]] = {
    "mpi-eager": {"OMPI_MCA_btl_tcp_eager_limit": str(1 << 20)},
    "mpi-links": {"OMPI_MCA_btl_tcp_links": "2"},
    "mpi-buffers": {"OMPI_MCA_btl_tcp_sndbuf": str(4 << 20), "OMPI_MCA_btl_tcp_rcvbuf": str(4 << 20)},
    "mpi-ring": {**ALGORITHM, "OMPI_MCA_coll_tuned_allreduce_algorithm": "4"},
    "mpi-rabenseifner": {**ALGORITHM, "OMPI_MCA_coll_tuned_allreduce_algorithm": "6"},
    "mpi-han": {"OMPI_MCA_coll_han_priority": "100"},
    "mpi-han-segments": {"OMPI_MCA_coll_han_priority": "100", "OMPI_MCA_coll_han_allreduce_segsize": str(1 << 20)},
}
DISTRIBUTED |= dict.fromkeys(MPI_SETTINGS, DISTRIBUTED[FLAT])
PEERS: dict[str, tuple[str, Callable[..., jobs.Rounds]]] = {
    "ddp": ("pytorch", jobs.ddp),
    "stock": ("tensorflow215", jobs.stock),
}
SYSTEMS = tuple(name for name in NAMES if name not in (BEFORE, CHOSEN, *MPI_SETTINGS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", nargs="+", default=LAYOUTS, help="HxR, up to 4 hosts")
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--mpi-settings", action="store_true", help="instead: flat MPI with other settings of its own")
    parser.add_argument("--rates", nargs="+", default=RATES, help="of the links, in Mbit/s, or unlimited")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2, help="of the rates in each run")
    parser.add_argument("--seconds", type=float, default=1.0, help="measured at each rate in each round")
    parser.add_argument("--venvs", type=Path, default=HERE.parent / ".peers", help="of benchmarks/peers/make_venvs.sh")
    parser.add_argument("--smoke", action="store_true", help="two hosts, 1 Gbit/s, once; no peers")
    parser.add_argument("--hostfile", type=Path, help="hosts of a cluster instead of namespaces; ours alone")
    parser.add_argument("--np", type=int, default=2, help="ranks on the hosts of --hostfile")
    parser.add_argument("--interface", help="of the hosts of --hostfile, whose bytes are counted; else the busiest")
    parser.add_argument("--kind", default="hosts", help="what the file's name begins with")
    parser.add_argument("--add", action="store_true", help="to the day's file, instead of replacing its rows")
    parser.add_argument("--out", type=Path, help="directory for the dated results")
    given = parser.parse_args()
    if given.mpi_settings:
        given.systems, given.recipes = [FLAT, *MPI_SETTINGS], ["reference"]
    if given.smoke:
        given.layouts, given.recipes, given.systems, given.rates = ["2x1"], ["reference"], [OURS], ["1000"]
        given.repeats, given.rounds = 1, 1
    check(parser, out=given.out)
    check_choices(parser, given)
    show(of_cluster(given) if given.hostfile else in_laboratory(given))


def check_choices(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """End with a message where something is unknown or missing."""
    for layout in given.layouts:
        hosts, _, ranks = layout.partition("x")
        if not (hosts.isdecimal() and ranks.isdecimal() and 2 <= int(hosts) <= 4 and 1 <= int(ranks) <= 8):
            parser.error(f"--layouts {layout!r}: a layout is HxR, 2 to 4 hosts with 1 to 8 ranks each, such as 2x1")
    for rate in given.rates:
        if rate != rates.UNLIMITED and not (rate.isdecimal() and int(rate) > 0):
            parser.error(f"--rates {rate!r}: a rate is a number of Mbit/s, or {rates.UNLIMITED}")
    try:
        for name in given.recipes:
            recipe(name)
            if name in RENAMED:
                parser.error(f"--recipes {name}: rows of this name are those of {RENAMED[name]}, as it was once called")
    except HvdTrainError as error:
        parser.error(str(error))
    if given.hostfile:
        if not given.hostfile.is_file():
            parser.error(f"--hostfile {given.hostfile}: there is no such file")
        return
    from namespaces import why_not

    if reason := why_not(limited=True):
        parser.error(f"the laboratory cannot be made: {reason}. On a cluster give --hostfile")
    missing = [name for name in given.systems if name in PEERS and not complete(given.venvs, name)]
    if missing:
        print(
            f"Left out: {', '.join(NAMES[name] for name in missing)}. {HERE / 'peers/make_venvs.sh'} {given.venvs} makes them.",
            file=sys.stderr,
        )
        given.systems = [name for name in given.systems if name not in missing]


def complete(venvs: Path, system: str) -> bool:
    return (venvs / PEERS[system][0] / ".complete").exists()


def config_of(name: str, system: str) -> RunConfig:
    config = with_batch(recipe(name)).replace(table={"num_songs": NUM_SONGS})
    return config.replace(distributed=DISTRIBUTED.get(system, {}))


def rows_of(given: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Layout, recipe and program of each row. All programs with the reference network; of the rest ours alone."""
    return [
        (layout, name, system)
        for layout in given.layouts
        for name in given.recipes
        for system in given.systems
        if name == "reference" or system in (OURS, ONE_GROUP, FLAT)
    ]


def in_laboratory(given: argparse.Namespace) -> dict[str, Any]:
    from namespaces import hosts_in

    result = started(given)
    rows = rows_of(given)
    for layout in given.layouts:
        num_hosts, ranks = map(int, layout.split("x"))
        own = [row for row in rows if row[0] == layout]
        plan = jobs.Plan(rates=list(given.rates), seconds=given.seconds, rounds=given.rounds, ranks_per_host=ranks)
        with tempfile.TemporaryDirectory(prefix="hvd_train-hosts-") as root, hosts_in(Path(root), num_hosts) as lab:
            num_cores = len(os.sched_getaffinity(0))
            result["oversubscribed"][layout] = num_hosts * ranks > num_cores
            for repeat in range(given.repeats):
                for row in in_turn(own, repeat):
                    measure_row(lab, plan, row, given, result)
                if layout == "2x1" and not given.smoke:
                    measure_floor(lab, given, result)
                keep(given, result)
    return keep(given, result)


def measure_row(
    lab: Any, plan: jobs.Plan, row: tuple[str, str, str], given: argparse.Namespace, result: dict[str, Any]
) -> None:
    _, name, system = row
    told(f"{' '.join(row)}")
    try:
        if system in PEERS:
            venv, job = PEERS[system]
            found = jobs.peer(job, lab, plan, (given.venvs / venv).absolute())
        else:
            config = config_of(name, system)
            env = OWN_LIMIT | MPI_SETTINGS.get(system, {}) if given.mpi_settings else {}
            found, result["about rows"][" ".join(row)] = jobs.ours(lab, plan, config, env)
    except (jobs.JobFailed, AssertionError) as error:
        if system not in PEERS:
            raise
        told(f"{NAMES[system]} failed in this turn: {error}")
        return
    add(result["measured"].setdefault(" ".join(row), {}), found)
    told("   ".join(f"{rate}: {one[-1]['step_ms']:.2f} ms" for rate, one in found.items()))


def measure_floor(lab: Any, given: argparse.Namespace, result: dict[str, Any]) -> None:
    num_bytes = next((about["gradient_bytes"] for about in result["about rows"].values()), 0)
    for rate in given.rates if num_bytes else ():
        lab.limit(rates.mbit_per_s(rate))
        add(result["measured"].setdefault(FLOOR, {}), {rate: [jobs.sockets(lab, num_bytes, given.seconds / 2)]})
    lab.limit(None)


def add(to: jobs.Rounds, found: jobs.Rounds) -> None:
    for rate, rounds in found.items():
        to.setdefault(rate, []).extend(rounds)


def of_cluster(given: argparse.Namespace) -> dict[str, Any]:
    """On the hosts of a hostfile, whose links are what they are."""
    result = started(given)
    for _ in range(given.repeats):
        for name in given.recipes:
            spec = jobs.rank.Spec(config=jobs.toml.dumps(config_of(name, OURS)), rates=[], interface=given.interface,
                                  seconds=given.seconds, rounds=given.rounds)  # fmt: skip
            program = [sys.executable, str(jobs.HERE / "rank.py"), spec.dumps()]
            told(f"{name} on {given.np} ranks")
            (ended,) = processes.run(
                [processes.mpirun(given.np, program, hostfile=given.hostfile)], limit_s=jobs.LIMIT_S
            )
            found, about = jobs.told(ended.output)
            row = f"{about['num_hosts']}x{given.np // about['num_hosts']} {name} {OURS}"
            result["about rows"][row] = about
            add(result["measured"].setdefault(row, {}), {rates.UNLIMITED: found[""]})
    return keep(given, result)


def started(given: argparse.Namespace) -> dict[str, Any]:
    """The day's result so far, with `--add`, or an empty one."""
    fresh = {**header(), "measured": {}, "about rows": {}, "oversubscribed": {}}
    path = given.out / file_name(given.kind, fresh) if given.out else None
    if path is not None and path.exists():
        before = json.loads(path.read_text())
        again = {" ".join(row) for row in rows_of(given)} if not given.add else set()
        if not given.add and "2x1" in given.layouts:
            again.add(FLOOR)
        kept = {row: found for row, found in before["measured"].items() if row not in again}
        return fresh | {
            "measured": kept,
            "about rows": before["about rows"],
            "oversubscribed": before["oversubscribed"],
            "load_average": before.get("load_average", 0.0),
        }
    return fresh


def keep(given: argparse.Namespace, result: dict[str, Any]) -> dict[str, Any]:
    """The result with its figures, written where it is asked for."""
    load = max(result.get("load_average", 0.0), os.getloadavg()[0])
    found = result | {"rows": summary.rows(result), "load_average": load}
    if given.out:
        (given.out / file_name(given.kind, found)).write_text(json.dumps(found, indent=2) + "\n")
    return found


def show(result: dict[str, Any]) -> None:
    console = Console(width=140)
    shown = new_table("Between hosts, median (min to max)", *summary.HEADS)
    for line in summary.lines(result["rows"], NAMES):
        shown.add_row(*line)
    console.print(shown)


def told(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(main)
