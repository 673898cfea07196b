"""What `hvd-train launch` does: read its own flags, and start what comes after `--` on several ranks."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hvd_train.cli.bench_verbs import refuse_under_a_launcher
from hvd_train.cli.cluster.submit_verb import split
from hvd_train.cli.terminal import parse
from hvd_train.cluster import launch as launching
from hvd_train.cluster import supervise as supervising
from hvd_train.distributed import Placement
from hvd_train.errors import UserError
from hvd_train.text import printable

PROG = "hvd-train launch"
LAUNCHED = ("train", "ensemble", "evaluate", "predict")


@dataclass(frozen=True, kw_only=True)
class LaunchArguments:
    """Start ranks that TensorFlow's own collectives join: no MPI and no Horovod are needed.

    What it starts comes after --. The first rank that fails ends all. Other hosts are reached by ssh without a password, and have
    hvd_train at the same path.

    Examples:

        hvd-train launch --np 4 -- train --data songs.csv

        hvd-train launch -H lab1:4,lab2:4 -- train --data songs.csv
    """

    engine: Literal["tensorflow"] = "tensorflow"
    """What joins the ranks. For Horovod, start them with horovodrun or mpirun."""
    np: int | None = None
    """Number of ranks. By default one for each slot."""
    hosts: Annotated[str | None, tyro.conf.arg(aliases=["-H"])] = None
    """Hosts and their slots, such as lab1:4,lab2:4. By default those of the batch job, or else this machine."""
    hostfile: Path | None = None
    """The same in a file."""
    tag_output: bool = False
    """Put the rank before every line of output."""


def launch(argv: Sequence[str], placement: Placement) -> int:
    """Start what comes after `--` on the ranks. Returns the exit code of the first that failed, and 0 where none did."""
    own, behind = split(argv)
    arguments = parse(LaunchArguments, own, placement, prog=PROG)
    refuse_under_a_launcher(placement, "launch")
    if not behind or behind[0] not in LAUNCHED:
        raise UserError(
            f"{PROG} takes what it starts after --, one of {', '.join(LAUNCHED)}: {PROG} --np 2 -- train --data songs.csv"
        )
    allocation = supervising.find_allocation(os.environ, hosts=arguments.hosts, hostfile=arguments.hostfile)
    hosts = launching.plan_ranks(allocation, arguments.np)
    command = [supervising.program(), *behind]
    output = Output(tag=arguments.tag_output)
    started = launching.Launch(
        allocation,
        hosts,
        command,
        os.environ,
        write=output.write,
        tell=tell,
    )
    return started.run()


def tell(text: str) -> None:
    sys.stderr.write(f"launch: {printable(text)}\n")
    sys.stderr.flush()


class Output:
    """Where the output of the ranks goes: ours, in whole lines where they are tagged."""

    def __init__(self, *, tag: bool) -> None:
        self._tag = tag
        self._lock = threading.Lock()
        self._begun: dict[tuple[int, str], bytes] = {}

    def write(self, rank: int, name: str, content: bytes) -> None:
        """What a rank wrote to its "stdout" or "stderr", as horovodrun shows it where it is tagged."""
        with self._lock:
            if self._tag:
                *lines, rest = (self._begun.pop((rank, name), b"") + content).split(b"\n")
                self._begun[rank, name] = rest
                content = b"".join(f"[{rank}]<{name}>: ".encode() + line + b"\n" for line in lines)
            stream = sys.stdout.buffer if name == "stdout" else sys.stderr.buffer
            stream.write(content)
            stream.flush()
