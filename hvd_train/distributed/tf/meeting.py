"""How the ranks of the engine tensorflow find each other before its first collective, which would wait for ever."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Iterable

from hvd_train.distributed.placement import Cluster, Placement, host_of, port_of
from hvd_train.errors import MissingEnvironment

# A rank that does not listen after so many --watchdog-s will not come, and never later than after LONGEST_S seconds.
PATIENCE = 5.0
LONGEST_S = 300.0
POLL_S = 0.1
CONNECT_S = 2.0


def require_free_port(cluster: Cluster) -> None:
    """MissingEnvironment where another program listens on this rank's port: gRPC would share it with that, unnoticed."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", cluster.port))
            probe.listen()
    except OSError as error:
        why = "another program has it" if error.errno == errno.EADDRINUSE else error.strerror
        raise MissingEnvironment(
            f"rank {cluster.rank} has to listen on port {cluster.port} ({cluster.addresses[cluster.rank]}), and cannot: {why}. "
            "Give it another port in TF_CONFIG, or end that program."
        ) from None


def meet(cluster: Cluster, placement: Placement, *, watchdog_s: float) -> None:
    """Wait until every rank listens. MissingEnvironment names those that do not."""
    limit_s = min(PATIENCE * watchdog_s or LONGEST_S, LONGEST_S)
    started = time.monotonic()
    missing = [rank for rank in range(placement.size) if rank != cluster.rank]
    why: dict[int, str] = {}
    while missing:
        why = {rank: problem for rank in missing if (problem := _problem(cluster.addresses[rank]))}
        missing = list(why)
        if missing and time.monotonic() - started > limit_s:
            raise MissingEnvironment(
                f"{placement} waited {limit_s:.0f} s for all {placement.size} ranks to start: {_named(missing, cluster, why)}. "
                "Look at its own output. Between hosts, the network has to let its port through."
            )
        if missing:
            time.sleep(POLL_S)


def _problem(address: str) -> str:
    """Why nobody listens there; empty where somebody does."""
    try:
        with contextlib.closing(socket.create_connection((host_of(address), port_of(address)), CONNECT_S)):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _named(missing: Iterable[int], cluster: Cluster, why: dict[int, str]) -> str:
    told = [f"rank {rank} does not listen on {cluster.addresses[rank]} ({why[rank]})" for rank in missing]
    return ", ".join(told)
