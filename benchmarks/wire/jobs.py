"""The programs whose exchange between hosts is measured, each as a job in the laboratory or (ours) on the hosts of a hostfile.

Each gives the same figures by rate of the links: milliseconds of a step (of the slowest rank), of a step without exchange, and the
bytes that a host sends in a step.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from namespaces import INTERFACE, Lab

from hvd_train.config import RunConfig, toml
from wire import floor, rank, rates

HERE = Path(__file__).resolve().parent
PEERS = HERE.parent / "peers"
LIMIT_S = 300.0
NO_VARIABLES: Mapping[str, str] = {}
PORT = 29_511
# Threads and cores as ours gives them to itself, which is faster for peers too (benchmarks/peers/compare.py).
PINNED = {"PEER_PINNED": "1", "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
Rounds = dict[str, list[dict[str, float]]]
"""What the rounds at each rate measured."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What of a job is the same for all programs."""

    rates: list[str]
    seconds: float
    rounds: int
    ranks_per_host: int


class JobFailed(Exception):
    """A job did not end well; the message has its output."""


def ours(
    lab: Lab, plan: Plan, config: RunConfig, env: Mapping[str, str] = NO_VARIABLES
) -> tuple[Rounds, dict[str, Any]]:
    """hvd_train's own figures, and its bytes of gradients, its batch and its settings."""
    folder = rates_folder(lab)
    spec = rank.Spec(
        config=toml.dumps(config),
        rates=plan.rates,
        folder=str(folder),
        interface="lan0",
        seconds=plan.seconds,
        rounds=plan.rounds,
    )
    program = [sys.executable, str(HERE / "rank.py"), spec.dumps()]
    command = lab.mpirun(plan.ranks_per_host, *program, env=env)
    with rates.kept(lab, folder), lab.running(0, *command, timeout_s=LIMIT_S) as job:
        finished = job.wait(LIMIT_S)
    return told(finished.output)


def told(output: str) -> tuple[Rounds, dict[str, Any]]:
    """What the root of rank.py said."""
    for line in output.splitlines():
        _, mark, text = line.partition(rank.ANSWER)
        if mark:
            return figures(json.loads(text))
    raise JobFailed(output[-3000:])


def figures(answer: Mapping[str, Any]) -> tuple[Rounds, dict[str, Any]]:
    """Of each round the slowest rank's times and the bytes of the host that sent most."""
    ranks = answer["ranks"]
    found: Rounds = {}
    for rate, rounds in ranks[0]["rates"].items():
        for number in range(len(rounds)):
            of_ranks = [one["rates"][rate][number] for one in ranks]
            firsts = [of for one, of in zip(ranks, of_ranks, strict=True) if one["local_rank"] == 0]
            found.setdefault(rate, []).append(
                {
                    "step_ms": max(of["step_ms"] for of in of_ranks),
                    "alone_ms": max(of["alone_ms"] for of in of_ranks),
                    "cpu_ms": statistics.mean(of["cpu_ms"] for of in of_ranks),
                    "sent_bytes": max(of["sent_bytes"] for of in firsts),
                }
            )
    about = {name: ranks[0][name] for name in ("gradient_bytes", "local_batch_size")}
    about["num_hosts"] = len({one["host"] for one in ranks})
    return found, about | {"settings": answer["settings"]}


def peer_env(lab: Lab, plan: Plan, folder: Path, venv: Path) -> dict[str, str]:
    return {
        "PATH": f"{venv / 'bin'}{os.pathsep}{lab.root / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "VIRTUAL_ENV": str(venv),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PEER_SECONDS": f"{plan.seconds:g}",
        "PEER_RATES": " ".join(plan.rates * plan.rounds),
        "PEER_FOLDER": str(folder),
        **PINNED,
    }


def ddp(lab: Lab, plan: Plan, venv: Path, num_hosts: int) -> Rounds:
    """PyTorch's DistributedDataParallel over gloo: torchrun on each host."""
    folder = rates_folder(lab)
    env = peer_env(lab, plan, folder, venv) | {"GLOO_SOCKET_IFNAME": "lan0"}
    launch = [*assigned(env), venv / "bin" / "torchrun", "--nnodes", num_hosts, "--nproc-per-node", plan.ranks_per_host]
    launch += ["--master-addr", lab.names[0], "--master-port", PORT]
    with rates.kept(lab, folder):
        return said(
            together(lab, [[*launch, "--node-rank", host, PEERS / "pytorch_ddp.py"] for host in range(num_hosts)])
        )


def stock(lab: Lab, plan: Plan, venv: Path, num_hosts: int) -> Rounds:
    """Horovod's own example on TensorFlow 2.15."""
    folder = rates_folder(lab)
    env = peer_env(lab, plan, folder, venv) | {"OPAL_PREFIX": str(venv)}
    where = ",".join(f"{name}:{plan.ranks_per_host}" for name in lab.names[:num_hosts])
    launch = [*assigned(env), venv / "bin" / "mpirun", "-np", num_hosts * plan.ranks_per_host, "--host", where]
    launch += ["--bind-to", "none", "--map-by", "slot", *(word for name in env for word in ("-x", name))]
    launch += [word for name, value in INTERFACE.items() for word in ("-mca", name.removeprefix("OMPI_MCA_"), value)]
    with rates.kept(lab, folder):
        return said(together(lab, [[*launch, venv / "bin" / "python", PEERS / "stock_horovod.py"]]))


def peer(job: Callable[[Lab, Plan, Path, int], Rounds], lab: Lab, plan: Plan, venv: Path) -> Rounds:
    """The steps of a peer between all hosts, and those of one process of it, which exchanges nothing."""
    one_rank = replace(plan, rates=[rates.UNLIMITED], rounds=2, ranks_per_host=1)
    alone = statistics.median(one["step_ms"] for one in job(lab, one_rank, venv, 1)[rates.UNLIMITED])
    found = job(lab, plan, venv, len(lab.names))
    return {rate: [one | {"alone_ms": alone} for one in rounds] for rate, rounds in found.items()}


def rates_folder(lab: Lab) -> Path:
    """Where programs ask for the rate of the links (rates.py)."""
    folder = lab.root / "rates"
    folder.mkdir(exist_ok=True)
    return folder


def assigned(env: Mapping[str, str]) -> list[str]:
    """`env` in front of a command. What is ours alone is taken away."""
    return ["env", *(f"--unset={name}" for name in os.environ if name.startswith(("HOROVOD_", "TF_")) and name not in env), *(f"{name}={value}" for name, value in env.items())]  # fmt: skip


def together(lab: Lab, commands: list[list[Any]]) -> str:
    """Run a command on each host, from the first one on; their output."""
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(lab.running(host, *map(str, command), timeout_s=LIMIT_S))
            for host, command in enumerate(commands)
        ]
        return "".join(job.wait(LIMIT_S).output for job in running)


def said(output: str) -> Rounds:
    """What the root of a peer said (peer.py): a step at each rate, in order. Peers have no steps without exchange."""
    answer = re.search(r'\{"rates": [^\n]*\}\n', output)
    if answer is None:
        raise JobFailed(output[-3000:])
    found: Rounds = {}
    for one in json.loads(answer[0])["rates"]:
        found.setdefault(one.pop("rate"), []).append(one)
    return found


def sockets(lab: Lab, num_bytes: int, seconds: float) -> dict[str, float]:
    """The floor between the first two hosts at the rate that the links have."""
    program = [sys.executable, floor.__file__]
    rest = [str(PORT), str(num_bytes), f"{seconds:g}"]
    with lab.running(0, *program, "listen", *rest, timeout_s=LIMIT_S) as listener:
        listener.wait_for("listening", 30)
        with lab.running(1, *program, lab.names[0], *rest, timeout_s=LIMIT_S) as other:
            answer = json.loads(listener.wait(LIMIT_S).stdout)
            other.wait(10)
    return dict(answer)
