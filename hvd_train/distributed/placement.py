"""The placement of a process among the ranks of a run. The launchers read it from the environment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """Where each rank of a run listens, for an engine whose ranks find each other by addresses."""

    addresses: tuple[str, ...]
    """"host:port" by rank."""
    rank: int

    @property
    def port(self) -> int:
        """That of this rank."""
        return port_of(self.addresses[self.rank])

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host of each rank, as its address names it."""
        return tuple(host_of(address) for address in self.addresses)


def host_of(address: str) -> str:
    """The host in "host:port".

    >>> host_of("lab1:2222"), host_of("[fe80::1]:2222")
    ('lab1', 'fe80::1')
    """
    return address.rpartition(":")[0].strip("[]")


def port_of(address: str) -> int:
    """The port in "host:port"."""
    return int(address.rpartition(":")[2])


@dataclass(frozen=True)
class Placement:
    """One process among the ranks of a run."""

    rank: int
    size: int
    local_rank: int
    """Its number among the ranks of its host, from 0."""
    local_size: int
    """Number of ranks on its host."""
    host: str
    launcher: str
    """The name of what started it; empty where nothing did."""

    @property
    def is_root(self) -> bool:
        return self.rank == 0

    def __str__(self) -> str:
        return f"rank {self.rank} on host {self.host}"
