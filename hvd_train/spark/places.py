"""Where the data lie, and which rank each task of the stage becomes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_train.data import is_url
from hvd_train.distributed import tf_config_of


def located(place: str | Path) -> str:
    """A URL as it is, and a path of this machine made absolute: the executors have other working directories."""
    return str(place) if is_url(place) else str(Path(place).absolute())


@dataclass(frozen=True)
class Arrival:
    """What a task says of itself when it comes."""

    task: int
    host: str
    ip: str
    port: int
    """A free one, for the engine tensorflow."""
    interface: str
    """The network interface that reaches the driver."""
    facts: dict[str, Any]
    """Versions, and what is missing."""


@dataclass(frozen=True)
class Place:
    """The place of a rank among the others."""

    task: int
    rank: int
    size: int
    local_rank: int
    local_size: int
    cross_rank: int
    cross_size: int
    host: str
    ip: str
    port: int
    interface: str

    def __str__(self) -> str:
        return f"rank {self.rank} on host {self.host}"


def places(arrivals: Sequence[Arrival]) -> list[Place]:
    """The ranks in order: those of one host follow each other, hosts in the order of their first task. Pure."""
    arrivals = sorted(arrivals, key=lambda arrival: arrival.task)
    hosts = list(dict.fromkeys(arrival.host for arrival in arrivals))
    of_host = {host: [arrival for arrival in arrivals if arrival.host == host] for host in hosts}
    found: list[Place] = []
    for host in hosts:
        for local_rank, arrival in enumerate(of_host[host]):
            across = [other for other in hosts if len(of_host[other]) > local_rank]
            found.append(
                Place(
                    task=arrival.task,
                    rank=len(found),
                    size=len(arrivals),
                    local_rank=local_rank,
                    local_size=len(of_host[host]),
                    cross_rank=across.index(host),
                    cross_size=len(across),
                    host=host,
                    ip=arrival.ip if len(hosts) > 1 else "127.0.0.1",
                    port=arrival.port,
                    interface=arrival.interface if len(hosts) > 1 else "lo",
                )
            )
    return found


def tf_config(all_places: Sequence[Place], place: Place) -> str:
    """TF_CONFIG of a rank."""
    return tf_config_of([f"{other.ip}:{other.port}" for other in all_places], place.rank)
