"""Sums over the ranks of one host in memory that they share: plain Python, for the engine that has neither MPI nor Horovod.

Each rank writes its addends to a slot of its own. Of the sum each rank adds up one block, in the order of ranks, and copies
the blocks of the others. So all ranks get the same bits, and the same run gives the same bits again.

The memory has no name, and neither has a socket once all ranks are joined: whatever ends them, nothing is left behind. The
root holds a connection to every other rank. Messages on it part the steps of a sum, and its end says that a rank is gone.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hvd_train.distributed.placement import Placement

# To connect, and to read what another rank has sent before.
JOIN_S = 30.0
# Of a slot: lines of the cache that two ranks write to would travel between their cores.
ALIGNMENT = 128
HELLO = 16
NUMBER = 8
# By this the error of a rank that is gone is known (tf.collectives.SIGNS).
LOST = "another rank has left the memory of the host"

Gather = Callable[[Any], list[Any]]
"""Takes the item of this rank, returns those of all ranks, by rank."""
_Offer = tuple[str, bytes]  # where the root listens, and what a rank has to say there


@dataclass(frozen=True)
class _Block:
    """The memory for sums of one size and type."""

    slots: list[np.ndarray]
    total: np.ndarray
    mine: slice
    """What this rank adds up of the total."""


class HostMemory:
    """The memory of the ranks of one host, seen from one of them. Made by `join`. All ranks call `sum`, in the same order."""

    def __init__(self, rank: int, size: int, links: dict[int, socket.socket]) -> None:
        """`links`: of the root, one to each other rank; of another rank, the one to the root."""
        self._rank, self._size, self._links = rank, size, links
        self._blocks: dict[tuple[str, int], _Block] = {}
        self._passed = 0

    def sum(self, array: np.ndarray, *, average: bool = False) -> np.ndarray:
        """The sum over the ranks, or their average, in the type of the array. All ranks, with arrays of one type and shape.

        Raises ConnectionError where another rank has ended, and RuntimeError where it sums something else.
        """
        if not array.size:
            return array.copy()
        block = self._block(array.dtype, array.size)
        block.slots[self._rank][:] = array.reshape(-1)
        self._wait_for_all(array.size)
        mine = block.total[block.mine]
        np.add(block.slots[0][block.mine], block.slots[1][block.mine], out=mine)
        for slot in block.slots[2:]:
            mine += slot[block.mine]
        if average:
            mine /= mine.dtype.type(self._size)
        self._wait_for_all(array.size)
        # No rank changes the total before all have come to the next sum.
        return block.total.reshape(array.shape).copy()

    def close(self) -> None:
        """Give up the connections. The others find that this rank is gone."""
        for link in self._links.values():
            link.close()

    def _block(self, dtype: np.dtype, size: int) -> _Block:
        known = self._blocks.get((dtype.str, size))
        if known is None:
            stride = -(-size * dtype.itemsize // ALIGNMENT) * ALIGNMENT
            memory = self._shared(stride * (self._size + 1))
            rows = [np.frombuffer(memory, dtype, size, number * stride) for number in range(self._size + 1)]
            bounds = slice(self._rank * size // self._size, (self._rank + 1) * size // self._size)
            known = self._blocks[dtype.str, size] = _Block(rows[1:], rows[0], bounds)
        return known

    def _shared(self, num_bytes: int) -> mmap.mmap:
        """Memory of this size that all ranks see. The root makes it, and passes it on."""
        if self._rank == 0:
            with _nameless_file(num_bytes) as file:
                for link in self._links.values():
                    socket.send_fds(link, [b"m"], [file.fileno()])
                return mmap.mmap(file.fileno(), num_bytes)
        message, descriptors, _, _ = socket.recv_fds(self._links[0], 1, 1)
        if not message:
            raise ConnectionError(LOST)
        try:
            return mmap.mmap(descriptors[0], num_bytes)
        finally:
            os.close(descriptors[0])

    def _wait_for_all(self, size: int) -> None:
        """Return when all ranks are here. They count how often they were, and compare what they sum."""
        self._passed += 1
        here = (self._passed << 40 | size).to_bytes(NUMBER, "little")
        if self._rank == 0:
            for rank, link in self._links.items():
                if (there := _read(link, NUMBER)) != here:
                    raise RuntimeError(f"Rank {rank} sums something else than rank 0: {there.hex()}, {here.hex()}.")
        for link in self._links.values():
            with _others_there():
                link.sendall(here)
        if self._rank > 0 and (there := _read(self._links[0], NUMBER)) != here:
            raise RuntimeError(f"Rank {self._rank} sums something else than rank 0: {here.hex()}, {there.hex()}.")


def join(placement: Placement, gather: Gather) -> HostMemory | None:
    """The memory of these ranks. All ranks. None, on every rank, where they are not on one host or do not see each other.

    Containers on one host are such a case: each has files of its own.
    """
    if placement.local_size < placement.size or not hasattr(socket, "AF_UNIX"):
        return None
    with contextlib.ExitStack() as held:
        listener, own_offer = _listen(placement.size, held) if placement.is_root else (None, None)
        offer: _Offer | None = gather(own_offer)[0]
        link = None if offer is None or placement.is_root else _connect(*offer, placement.rank)
        connected = gather(link is not None or listener is not None)
        links = {0: link} if link is not None else {}
        if all(connected) and listener is not None and own_offer is not None:
            links = _accept(listener, placement.size, own_offer[1])
        everyone = gather(len(links) == (placement.size - 1 if placement.is_root else 1))
    memory = HostMemory(placement.rank, placement.size, links)
    if all(everyone):
        return memory
    memory.close()
    return None


def _listen(size: int, held: contextlib.ExitStack) -> tuple[socket.socket | None, _Offer | None]:
    """A socket that waits for the others, and what they need to reach it. It and its folder go when `held` ends."""
    try:
        folder = tempfile.mkdtemp(prefix="hvd_train-")
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        listener = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.settimeout(JOIN_S)
        listener.bind(str(Path(folder, "ranks")))
        listener.listen(size)
    except OSError:  # no folder can be written, or its name is too long for a socket
        return None, None
    return listener, (str(Path(folder, "ranks")), secrets.token_bytes(HELLO))


def _connect(address: str, token: bytes, rank: int) -> socket.socket | None:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.settimeout(JOIN_S)
        link.connect(address)
        link.sendall(token + rank.to_bytes(NUMBER, "little"))
    except OSError:
        link.close()
        return None
    link.settimeout(None)
    return link


def _accept(listener: socket.socket, size: int, token: bytes) -> dict[int, socket.socket]:
    """The connection to each other rank, by rank; fewer where one has ended meanwhile."""
    links: dict[int, socket.socket] = {}
    with contextlib.suppress(OSError):
        while len(links) < size - 1:
            link, _ = listener.accept()
            link.settimeout(JOIN_S)
            hello = _read(link, HELLO + NUMBER)
            if not secrets.compare_digest(hello[:HELLO], token):
                link.close()
                continue
            link.settimeout(None)
            links[int.from_bytes(hello[HELLO:], "little")] = link
    return dict(sorted(links.items()))


@contextlib.contextmanager
def _others_there() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise ConnectionError(LOST) from None


def _read(link: socket.socket, length: int) -> bytes:
    """So many bytes. ConnectionError where the other end closes before."""
    content = b""
    with _others_there():
        while len(content) < length:
            part = link.recv(length - len(content))
            if not part:
                raise ConnectionError(LOST)
            content += part
    return content


def _nameless_file(num_bytes: int) -> Any:
    """A file of this size without a name, in memory where the system has such files. OSError where there is no room."""
    if hasattr(os, "memfd_create"):
        file: Any = os.fdopen(os.memfd_create("hvd_train"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115  (the caller closes it)
    try:
        if hasattr(os, "posix_fallocate"):  # now, and not by a signal on the first write
            os.posix_fallocate(file.fileno(), 0, num_bytes)
        else:
            os.truncate(file.fileno(), num_bytes)
    except BaseException:
        file.close()
        raise
    return file
