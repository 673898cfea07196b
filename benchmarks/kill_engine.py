"""Kill -9 of a rank of --engine tensorflow, again and again: how soon the job ends, who is named, and what comes out in the end.

    python benchmarks/kill_engine.py --folder FOLDER --kills 20 --out benchmarks/results

A small network with dropout and noise is trained once undisturbed by `hvd-train launch`. A second run of the same is killed at random
moments, also while it starts, and each time resumed. FOLDER keeps both, so a call with fewer --kills goes on where the last
one stopped; the last call lets the run end and compares weights, moments, random generators and losses bit for bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from faults.compare import differences
from pages import ROOT

sys.path.insert(0, str(ROOT / "tests" / "launch"))
from processes import BIN, Job, started
from records import check, header, run, save

from hvd_train.files import write_text
from hvd_train.runs import RunDir

NP = 2
WATCHDOG_S = 10.0
# From the kill to the end of the job: the watchdog's limit, and the last words of the others.
LIMIT_S = WATCHDOG_S + 10.0
TRAIN = [
    *("train", "--recipe", "debug", "--num-songs", "20000", "--global-batch-size", "256", "--num-epochs", "400"),
    *("--conv-dropout", "0.2", "--dense-dropout", "0.5", "--noise", "0.2", "--early-stopping-patience", "0"),
    *("--steps-per-execution", "5", "--checkpoint-every-steps", "25", "--watchdog-s", f"{WATCHDOG_S:g}"),
]  # fmt: skip
# Seconds from the start of the ranks to the kill, at most; a start takes a good part of it. All kills come before the run ends.
LATEST_S = 15.0
START_S = 120.0
WHOLE_S = 900.0


@dataclass
class State:
    """What the calls so far have seen."""

    kills: list[dict[str, Any]] = field(default_factory=list)


def command(run_dir: RunDir) -> list[str]:
    flags = ["--resume", str(run_dir.path)] if run_dir.config.exists() else ["--run-dir", str(run_dir.path)]
    rest = ["train", "--watchdog-s", f"{WATCHDOG_S:g}"] if run_dir.config.exists() else TRAIN
    return [str(BIN / "hvd-train"), "launch", "--np", str(NP), "--", *rest, *flags]


def ranks_of(job: Job) -> dict[int, psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for process in psutil.Process(job.pid).children(recursive=True):
        try:
            config = process.environ().get("TF_CONFIG")
        except psutil.Error:
            continue
        if config:
            found.setdefault(json.loads(config)["task"]["index"], process)
    return found


def kill_once(run_dir: RunDir, chance: random.Random) -> dict[str, Any] | None:
    """Start or resume the run and kill a rank. Returns what was seen; None where the run was complete before."""
    rank, after_s = chance.randrange(NP), chance.uniform(0.0, LATEST_S)
    with started(command(run_dir), timeout_s=WHOLE_S) as job:
        deadline = time.monotonic() + START_S
        while len(ranks_of(job)) < NP and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(after_s)
        victim = ranks_of(job).get(rank)
        if victim is None or job.process.poll() is not None:
            job.wait(WHOLE_S)
            return None
        os.kill(victim.pid, signal.SIGKILL)
        began = time.monotonic()
        finished = job.wait(WHOLE_S)
        seconds = time.monotonic() - began
    named = re.search(rf"rank {rank} on host \S+", finished.stderr)
    return {
        "rank": rank,
        "after_s": round(after_s, 1),
        "ended_after_s": round(seconds, 2),
        "code": finished.code,
        "named": bool(named),
        "tracebacks": finished.output.count("Traceback"),
        "left_behind": list(finished.left_behind),
        "had_checkpoint": run_dir.last.exists(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20, help="of this call")
    parser.add_argument("--last", action="store_true", help="let the run end after these, and compare")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="directory for the dated results")
    given = parser.parse_args()
    check(parser, out=given.out)
    given.folder.mkdir(parents=True, exist_ok=True)
    calm, stormy, kept = RunDir(given.folder / "calm"), RunDir(given.folder / "stormy"), given.folder / "state.json"
    state = State(**json.loads(kept.read_text())) if kept.exists() else State()
    for _ in range(given.kills):
        seen = kill_once(stormy, random.Random(given.seed * 1000 + len(state.kills)))
        if seen is None:
            print("the run was complete before the kill", file=sys.stderr)
            break
        state.kills.append(seen)
        print(json.dumps(seen), file=sys.stderr, flush=True)
        write_text(kept, json.dumps(asdict(state)))
    if not given.last:
        return
    if not state.kills:
        parser.error(f"{given.folder} has seen no kill: its run was complete before. Give an empty folder.")
    for run_dir in (stormy, calm):
        if not run_dir.done.exists():
            with started(command(run_dir), timeout_s=WHOLE_S) as job:
                if (finished := job.wait(WHOLE_S)).code:
                    raise SystemExit(f"{run_dir.path} did not end well: {finished}")
    ends = sorted(kill["ended_after_s"] for kill in state.kills)
    result = {
        **header(),
        "ranks": NP,
        "watchdog_s": WATCHDOG_S,
        "limit_s": LIMIT_S,
        "kills": state.kills,
        "number": len(ends),
        "ended_after_s": {"median": ends[len(ends) // 2], "max": ends[-1]},
        "named": sum(kill["named"] for kill in state.kills),
        "nonzero": sum(kill["code"] != 0 for kill in state.kills),
        "left_behind": sum(len(kill["left_behind"]) for kill in state.kills),
        "differences": differences(stormy, calm),
    }
    save(given.out, "kill-engine", result)
    if result["differences"] or result["named"] < len(ends) or ends[-1] > LIMIT_S:
        sys.exit("something differs, a rank was not named, or an end came late")


if __name__ == "__main__":
    run(main)
