"""The same net, batch and cores with hvd_train and its peers, by turns.

    benchmarks/peers/make_venvs.sh                                        # once
    python benchmarks/peers/compare.py --repeats 5 --out benchmarks/results

Run it where nothing else runs. In every repeat each row runs once, back and forth, so all rows see the same hours of the
machine. A row's ratio is ours of the same repeat divided by it. Each peer is there twice: as its documentation has it, and
with the threads and the pinning that ours gives itself. hvd_train runs its whole train step with its own pipeline, the peers
theirs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hvd_train.bench import figures
from hvd_train.bench.presentation import new_table
from hvd_train.bench.rank_program import Spec
from hvd_train.bench.session import BenchSettings, Session
from hvd_train.config import toml
from hvd_train.config.recipes import REFERENCE
from hvd_train.processes import jobs

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from records import check, header, in_turn, run, save  # noqa: E402

NP = 2
LIMIT_S = 180.0
PINNED = {"PEER_PINNED": "1", "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
OURS = "hvd_train"
OVER_TENSORFLOW = "hvd_train, engine tensorflow"
OURS_ALL = (OURS, OVER_TENSORFLOW, "independent processes", "hvd_train, nothing automatic", "one process, all cores")
# Peers, and the environment of each (make_venvs.sh).
PEERS = {
    "stock Horovod, TF 2.15": "tensorflow215",
    "MultiWorkerMirrored, TF 2.15": "tensorflow215",
    "PyTorch DDP, gloo": "pytorch",
}
PEERS_ALL = {f"{name}{how}": venv for name, venv in PEERS.items() for how in ("", ", pinned")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="measured of each run, after the warm-up")
    parser.add_argument("--venvs", type=Path, default=HERE.parents[1] / ".peers")
    parser.add_argument("--only", nargs="*", help="some rows' names")
    parser.add_argument("--out", type=Path, help="directory for the dated results")
    arguments = parser.parse_args()
    check(parser, out=arguments.out, only=arguments.only or (), rows=(*OURS_ALL, *PEERS_ALL))
    venvs = arguments.venvs.resolve()
    left_out = without_environment(venvs)
    wanted = [name for name in (*OURS_ALL, *PEERS_ALL) if not arguments.only or name in (OURS, *arguments.only)]
    if missing := sorted({left_out[name] for name in wanted if name in left_out}):
        told = f"there is no environment of peers in {' and '.join(missing)}; {HERE / 'make_venvs.sh'} {venvs} makes it"
        if arguments.only:
            parser.error(told)
        print(f"Rows are left out: {told}.", file=sys.stderr, flush=True)
    about = header()
    about["versions"] |= peer_versions(venvs)

    def keep(rates: dict[str, list[float]]) -> dict[str, Any]:
        net = "input 90 x 1, Conv1D 32 x 3 twice, dense 128, softmax 90; Adam, float32, 256 rows a rank, 2 ranks"
        result = {**about, "net": net, "samples_per_s": rates, "rows": summary(rates)}
        if arguments.out:
            save(arguments.out, "peers", result, again=arguments.only or (), tables=("samples_per_s", "rows"))
        return result

    with tempfile.TemporaryDirectory() as scratch:
        plan = BenchSettings(config=REFERENCE, sizes=(1, NP), seconds=arguments.seconds, num_repeats=1)
        with Session(plan, lambda _: None) as session:
            rows = {**own_rows(session, Path(scratch)), **peer_rows(venvs, arguments.seconds, Path(scratch))}
            chosen = {name: rows[name] for name in wanted if name not in left_out}
            result = keep(measured(chosen, arguments.repeats, keep))
    Console(width=120).print(table(result["rows"]))


def without_environment(venvs: Path) -> dict[str, str]:
    """The rows of peers whose environment make_venvs.sh has not made, and that environment."""
    return {name: str(venvs / venv) for name, venv in PEERS_ALL.items() if not (venvs / venv / ".complete").exists()}


Row = Callable[[], float]


def own_rows(session: Session, scratch: Path) -> dict[str, Row]:
    """Ours by Horovod and by TensorFlow's collectives; with nothing automatic; processes that exchange nothing; one process with all cores."""
    off = REFERENCE.replace(distributed={"automatic": ()})
    return {
        OURS: lambda: figures.samples_per_s(session.ranks(NP, REFERENCE)["ranks"]),
        OVER_TENSORFLOW: lambda: over_tensorflow(session.settings.seconds, scratch),
        "independent processes": lambda: figures.samples_per_s_apart(session.independent(NP, REFERENCE)["ranks"]),
        "hvd_train, nothing automatic": lambda: figures.samples_per_s(session.ranks(NP, off)["ranks"]),
        "one process, all cores": lambda: figures.samples_per_s(
            session.independent(1, REFERENCE, all_cores=True)["ranks"]
        ),
    }


def over_tensorflow(seconds: float, scratch: Path) -> float:
    """Ours with --engine tensorflow: samples a second over the ranks."""
    answer = scratch / "engine-tensorflow"
    spec = Spec(config=toml.dumps(REFERENCE), out=str(answer), seconds=seconds, num_rounds=1, parts=False)
    command = [sys.executable, "-m", "hvd_train.bench.rank_program", spec.dumps()]
    jobs.run([["env", f"TF_CONFIG={config}", *command] for config in tf_configs()], limit_s=LIMIT_S)
    return figures.samples_per_s(json.loads(answer.read_text())["ranks"])


def tf_configs() -> list[str]:
    """TF_CONFIG of each rank."""
    workers = [f"127.0.0.1:{free_port()}" for _ in range(NP)]
    return [json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": n}}) for n in range(NP)]


def peer_rows(venvs: Path, seconds: float, scratch: Path) -> dict[str, Row]:
    tensorflow, pytorch = venvs / "tensorflow215" / "bin", venvs / "pytorch" / "bin"
    base = {"PEER_SECONDS": f"{seconds:g}", "TF_CPP_MIN_LOG_LEVEL": "3"}

    def stock(extra: dict[str, str]) -> float:
        mpi = {
            "OPAL_PREFIX": str(tensorflow.parent),
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        }
        command = [tensorflow / "horovodrun", "-np", NP, tensorflow / "python", HERE / "stock_horovod.py"]
        return total([command], [environment(tensorflow, base | mpi | extra)], scratch)

    def mirrored(extra: dict[str, str]) -> float:
        command = [tensorflow / "python", HERE / "multi_worker_mirrored.py"]
        environments = [environment(tensorflow, base | {"TF_CONFIG": config} | extra) for config in tf_configs()]
        return total([command] * NP, environments, scratch)

    def ddp(extra: dict[str, str]) -> float:
        command = [pytorch / "torchrun", "--standalone", "--nproc-per-node", NP, HERE / "pytorch_ddp.py"]
        return total([command], [environment(pytorch, base | extra)], scratch)

    rows: dict[str, Row] = {}
    for name, rate in zip(PEERS, (stock, mirrored, ddp), strict=True):
        rows[name] = lambda rate=rate: rate({})
        rows[f"{name}, pinned"] = lambda rate=rate: rate(PINNED)
    return rows


def environment(folder: Path, extra: dict[str, str]) -> dict[str, str]:
    """A plain user's: nothing of this environment's settings for MPI, Horovod and threads."""
    ours = ("OMPI_", "HOROVOD_", "OPAL_", "PMIX_", "OMP_", "TF_", "VIRTUAL_ENV")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return kept | {"PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}"} | extra


def total(commands: list[list[Any]], environments: list[dict[str, str]], scratch: Path) -> float:
    """Samples a second over the ranks of programs that run side by side; RuntimeError with their output if one fails."""
    outputs = [scratch / f"{n}" for n in range(len(commands))]
    started = []
    try:
        for command, env, path in zip(commands, environments, outputs, strict=True):
            with path.open("w") as out:
                started.append(subprocess.Popen([str(part) for part in command], env=env, stdout=out,
                                                stderr=subprocess.STDOUT, start_new_session=True))  # fmt: skip
        codes = [process.wait(LIMIT_S) for process in started]
    finally:
        for process in started:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                process.wait()
    text = "".join(path.read_text(errors="replace") for path in outputs)
    # Ranks may write into one line.
    told = [json.loads(answer) for answer in re.findall(r'\{"rank": [^{}]*\}', text)]
    # One that crashes while it leaves, as PyTorch's gloo now and then does, has been measured.
    if len(told) != NP:
        raise RuntimeError(f"{commands[0]}: exit codes {codes}, {len(told)} answers\n{text[-3000:]}")
    return float(sum(one["samples_per_s"] for one in told))


def measured(
    rows: dict[str, Row], repeats: int, keep: Callable[[dict[str, list[float]]], object]
) -> dict[str, list[float]]:
    """The rates of the rows, which are kept after each repeat. A peer that fails is told and left out of the rest."""
    rates: dict[str, list[float]] = {name: [] for name in rows}
    for repeat in range(repeats):
        for name in in_turn(rates, repeat):
            try:
                rates[name].append(rows[name]())
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                if name in OURS_ALL:
                    raise
                print(f"{name} failed and is left out: {error}", file=sys.stderr, flush=True)
                del rates[name]
                continue
            print(f"{repeat + 1}/{repeats}  {name:<34} {rates[name][-1]:>9,.0f}", file=sys.stderr, flush=True)
        keep(rates)
    return rates


def summary(rates: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    found = {}
    for name, values in rates.items():
        ours = rates.get(OURS, values)
        ratios = [a / b for a, b in zip(ours, values, strict=True)]
        found[name] = {"samples_per_s": figures.spread(values), "ours_to_it": figures.spread(ratios)}
    return found


def table(rows: dict[str, dict[str, Any]]) -> Table:
    title = "Samples/s over two ranks on two cores, median (min to max)"
    shown = new_table(title, "", "samples/s", "hvd_train is faster by")
    for name, row in sorted(rows.items(), key=lambda item: -item[1]["samples_per_s"]["median"]):
        rate, ratio = row["samples_per_s"], row["ours_to_it"]
        shown.add_row(
            name,
            f"{rate['median']:,.0f} ({rate['min']:,.0f} to {rate['max']:,.0f})",
            f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})",
        )
    return shown


def peer_versions(venvs: Path) -> dict[str, str]:
    code = "import importlib.metadata as m, json; print(json.dumps({n: m.version(n) for n in %r if list(m.distributions(name=n))}))"
    packages = {"tensorflow215": ["tensorflow-cpu", "keras", "horovod"], "pytorch": ["torch"]}
    found = {}
    for venv, names in packages.items():
        if not (venvs / venv / ".complete").exists():
            continue
        done = subprocess.run([venvs / venv / "bin" / "python", "-c", code % names], capture_output=True, text=True)
        if done.returncode == 0:
            found |= {f"{name} of {venv}": version for name, version in json.loads(done.stdout).items()}
    return found


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


if __name__ == "__main__":
    run(main)
