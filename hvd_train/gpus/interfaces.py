"""NCCL's network interfaces, where MPI was told which to use: NCCL chooses for itself, and may find a bridge of Docker."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Mapping

import psutil

INCLUDED, EXCLUDED = "OMPI_MCA_btl_tcp_if_include", "OMPI_MCA_btl_tcp_if_exclude"
NCCL_INTERFACES = "NCCL_SOCKET_IFNAME"


def nccl_variables(environment: Mapping[str, str], addresses: Mapping[str, str]) -> dict[str, str]:
    """What to set for NCCL so that it uses the interfaces that MPI uses. Nothing where the user has chosen NCCL's.

    `addresses` are the interfaces of this host with their IPv4 addresses: Open MPI takes subnets, too, and NCCL names alone.
    With an = in front NCCL takes whole names; otherwise eth1 would be eth10, too.
    """
    if NCCL_INTERFACES in environment:
        return {}
    if included := _names(environment.get(INCLUDED, ""), addresses):
        return {NCCL_INTERFACES: "=" + ",".join(included)}
    if excluded := _names(environment.get(EXCLUDED, ""), addresses):
        return {NCCL_INTERFACES: "^=" + ",".join(excluded)}
    return {}


def interface_addresses() -> dict[str, str]:
    """The interfaces of this host with their IPv4 addresses."""
    found = psutil.net_if_addrs().items()
    return {name: a.address for name, addresses in found for a in addresses if a.family == socket.AF_INET}


def _names(given: str, addresses: Mapping[str, str]) -> list[str]:
    """The interfaces in a list of names and subnets of Open MPI."""
    names: list[str] = []
    for part in (part.strip() for part in given.split(",")):
        if "/" not in part:
            names += [part] * bool(part)
            continue
        with contextlib.suppress(ValueError):
            network = ipaddress.ip_network(part, strict=False)
            names += [name for name, address in addresses.items() if ipaddress.ip_address(address) in network]
    return list(dict.fromkeys(names))
