"""What faults cost a supervised run, and whether it ends as if there had been none.

    python benchmarks/kills.py --out benchmarks/results            100 faults, half of them on two hosts (as root)
    python benchmarks/kills.py --where one --faults 10             10 faults on one host, without root
    python benchmarks/kills.py --ends 30                           does mpirun end? 30 short trainings on two hosts

Run it where nothing else runs. A small network with dropout and noise is trained twice: once undisturbed, and once under
`hvd-train supervise` while ranks are killed or stopped, mpirun or its daemon is killed, and hosts are cut off or lose their power, at
random moments, also during saves and start-up. Then weights, moments, random generators and losses are compared bit for
bit, and processes and files that are left over are counted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faults import ends, story
from faults.compare import differences
from faults.inject import Injector, Stuck
from faults.places import Place, both_hosts, files_below, one_host
from faults.plan import ONE_HOST, TWO_HOSTS, Fault, Kind, plan
from faults.steps import beside
from pages import ROOT
from processes import BIN
from records import check, header, run, save

from hvd_train.cluster.supervise import leftovers
from hvd_train.runs import RunDir

# Steps from one checkpoint to the next. A save that a fault interrupts does not count, and a save waits for the one before:
# less than two intervals are lost.
EVERY = 25
LOST_AT_MOST = 2 * EVERY
TRAIN = [
    *("train", "--recipe", "debug", "--num-songs", "40000", "--global-batch-size", "256"),
    *("--filters", "32", "32", "--dense-units", "128", "--conv-dropout", "0.2", "--dense-dropout", "0.5"),
    *("--noise", "0.2", "--feature-dropout", "0.1", "--early-stopping-patience", "0"),
    *("--steps-per-execution", "5", "--checkpoint-every-steps", str(EVERY)),
    *("--trackers", f"{ROOT}/benchmarks/faults/steps.py:Steps"),
]  # fmt: skip
# Whatever it does in total; each wait has a limit of its own.
LIMIT_S = 7200.0
LAST_STEP_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A run with faults, and one without."""

    faults: int
    seed: int = 0
    epochs_per_fault: float = 3.0
    """How long the run is."""
    watchdog_s: float = 10.0

    @property
    def epochs(self) -> int:
        return max(2, round(self.faults * self.epochs_per_fault))

    def train(self, run_dir: RunDir) -> list[str]:
        limits = ["--num-epochs", str(self.epochs), "--watchdog-s", f"{self.watchdog_s:g}"]
        return [*TRAIN, *limits, "--run-dir", str(run_dir.path)]


def undisturbed(at: Place, train: list[str], run_dir: RunDir) -> float:
    """Train once without a fault. Returns the seconds."""
    began = time.monotonic()
    with at.running([*at.mpirun, "-x", "PATH", BIN / "hvd-train", *train], LIMIT_S) as job:
        finished = job.wait(LIMIT_S)
    if finished.code or not run_dir.done.exists():
        raise SystemExit(f"the undisturbed run failed: {finished}")
    return time.monotonic() - began


def disturbed(place: Place, train: list[str], run_dir: RunDir, faults: list[Fault]) -> dict[str, Any]:
    """Train under the supervisor with these faults. Returns what was seen."""
    supervise = [
        BIN / "hvd-train",
        "supervise",
        *place.options,
        "--max-restarts",
        str(10 * len(faults)),
        "--",
        *train,
    ]
    began, struck = time.monotonic(), []
    run_dir.last.parent.mkdir(parents=True, exist_ok=True)
    with place.running(supervise, LIMIT_S) as job:
        injector = Injector(place, beside(run_dir.path), run_dir.last.parent)
        try:
            for fault in faults:
                struck.append(injector.make(fault))
                told(
                    f"  {place.hosts}, fault {fault.number} of {len(faults)}: {fault.kind} at step {injector.steps.done} ({fault.moment})"
                )
            try:
                injector.next_launcher()
            except Stuck:
                if job.process.poll() is None:  # else the last fault came after the last step: the run is complete
                    raise
            finished = job.wait(LAST_STEP_S)
        except (Stuck, AssertionError) as stuck:
            raise SystemExit(f"{stuck}\n{job.output[-20000:]}") from stuck
    if finished.code:
        raise SystemExit(f"the supervisor ended with {finished}")
    with beside(run_dir.path).open() as file:
        costs = story.costs(story.read(file), struck, injector.launches)
    return {
        "seconds": round(time.monotonic() - began, 1),
        "processes_left": [*finished.left_behind, *(f"{p.pid} {p.name()}" for p in place.processes())],
        **story.summary(costs),
        "each": [{**asdict(cost), "time": round(one.time, 3)} for one, cost in zip(struck, costs, strict=True)],
    }


def temporary_files(run_dir: RunDir) -> list[str]:
    """What an interrupted write left in the run directory."""
    return [
        name for name in files_below(run_dir.path) if Path(name).name.startswith(".") and Path(name).name != ".lock"
    ]


def own_places(run_dir: RunDir) -> list[str]:
    """What the supervisor left of the places that it gave Open MPI."""
    mark = run_dir.job.mark.read_text().strip()
    return [folder for folder in leftovers.places(mark) if Path(folder).exists()]


def measure_at(place: Place, trial: Trial, kinds: dict[Kind, int]) -> dict[str, Any]:
    """One run with faults at a place, and the one without. SystemExit where one of them does not come to its end."""
    calm, stormy = RunDir(place.root / "undisturbed"), RunDir(place.root / "run")
    told(f"{place.hosts}: {trial.epochs} epochs undisturbed")
    seconds = undisturbed(place, trial.train(calm), calm)
    left_before = place.leftovers()
    told(f"{place.hosts}: {seconds:.0f} s; now with {trial.faults} faults")
    with beside(calm.path).open() as file:
        steps = max(event.get("done", 0) for event in story.read(file))
    planned = plan(trial.faults, trial.seed, kinds=kinds, size=place.size, steps=steps)
    seen = disturbed(place, trial.train(stormy), stormy, planned)
    return {
        **asdict(trial),
        "ranks": place.size,
        "epochs": trial.epochs,
        "steps": steps,
        "checkpoint_every_steps": EVERY,
        "undisturbed_s": round(seconds, 1),
        "load_average": round(os.getloadavg()[2], 1),
        "differences": differences(stormy, calm),
        "files_left": [*temporary_files(stormy), *own_places(stormy), *(set(place.leftovers()) - set(left_before))],
        **seen,
    }


@contextlib.contextmanager
def place_of(name: str, given: argparse.Namespace) -> Iterator[tuple[Place, dict[Kind, int]]]:
    if name == "one":
        with one_host(2) as one:
            yield one, ONE_HOST
    else:
        with both_hosts(given.ranks_per_host) as two:
            yield two, TWO_HOSTS


def told(what: str) -> None:
    print(time.strftime("%H:%M:%S"), what, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=100, help="over all places")
    parser.add_argument(
        "--where", choices=("one", "two", "both"), default="both", help="one host, two hosts, or half each"
    )
    parser.add_argument("--ranks-per-host", type=int, default=1, help="on two hosts")
    parser.add_argument("--epochs-per-fault", type=float, default=3.0, help="how long the run is")
    parser.add_argument("--watchdog-s", type=float, default=10.0, help="of the training")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--ends", type=int, metavar="N", help="instead: N short trainings on two hosts. Do they end?")
    parser.add_argument("--out", type=Path, help="directory for the dated results")
    given = parser.parse_args()
    check(parser, out=given.out)
    names = ["one", "two"] if given.where == "both" else [given.where]
    if given.ends:
        with both_hosts(given.ranks_per_host) as two:
            save(given.out, "ends", {**header(), **ends.measure(two, given.ends, told)})
        return
    parts: dict[str, Any] = {}
    for index, name in enumerate(names):
        faults = given.faults // len(names) + (index < given.faults % len(names))
        with place_of(name, given) as (place, kinds):
            trial = Trial(
                faults=faults, seed=given.seed, epochs_per_fault=given.epochs_per_fault, watchdog_s=given.watchdog_s
            )
            part = parts[place.hosts] = measure_at(place, trial, kinds)
            told(verdict(place.hosts, part))
        # A place that is measured alone replaces its part in the file of the day.
        save(given.out, "kills", {**header(), "parts": parts}, again=parts, tables=["parts"])
    if any(part["differences"] or part["files_left"] or part["processes_left"] for part in parts.values()):
        sys.exit("something differs or is left over")


def verdict(hosts: str, part: dict[str, Any]) -> str:
    wrong = {name: part[name] for name in ("differences", "processes_left", "files_left") if part[name]}
    return f"{hosts}: {part['seconds']}; {wrong or 'equal bit for bit, nothing is left'}"


if __name__ == "__main__":
    run(main)
