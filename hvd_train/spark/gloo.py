"""Where the ranks of the engine horovod find each other: Horovod's rendezvous server for Gloo, on the driver."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from hvd_train.errors import MissingEnvironment
from hvd_train.spark.places import Place


class Rendezvous:
    """The server, started for these places. Use it with `close`."""

    def __init__(self, places: Sequence[Place]) -> None:
        try:
            from horovod.runner.http.http_server import RendezvousServer
        except ImportError as error:
            raise MissingEnvironment(
                f'Horovod cannot be loaded on the driver ({error}). Build it by `make setup`, or use engine="tensorflow", which '
                "needs nothing but hvd_train."
            ) from None
        self._server: Any = RendezvousServer()
        self.port = int(self._server.start())
        self._server.init([SimpleNamespace(**slot(place)) for place in places])

    def close(self) -> None:
        self._server.stop()


def slot(place: Place) -> dict[str, Any]:
    """A place as the server knows it. Pure."""
    return {
        "hostname": place.host,
        "rank": place.rank,
        "size": place.size,
        "local_rank": place.local_rank,
        "local_size": place.local_size,
        "cross_rank": place.cross_rank,
        "cross_size": place.cross_size,
    }


def variables(place: Place, *, address: str, port: int) -> dict[str, str]:
    """The environment of a rank. Pure."""
    return {
        "HOROVOD_HOSTNAME": place.host,
        "HOROVOD_RANK": str(place.rank),
        "HOROVOD_SIZE": str(place.size),
        "HOROVOD_LOCAL_RANK": str(place.local_rank),
        "HOROVOD_LOCAL_SIZE": str(place.local_size),
        "HOROVOD_CROSS_RANK": str(place.cross_rank),
        "HOROVOD_CROSS_SIZE": str(place.cross_size),
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": address,
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_GLOO_IFACE": place.interface,
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
    }
