"""A rank that adds numbers with the others until one of them gets SIGUSR1. Started by test_mpijob.py."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

from mpi4py import MPI

warnings: list[int] = []
signal.signal(signal.SIGUSR1, lambda number, frame: warnings.append(number))
world = MPI.COMM_WORLD
print(f"rank {world.rank} of {world.size} on {socket.gethostname()} as {os.getuid()}", flush=True)
for _ in range(600 if "--wait" in sys.argv else 1):
    if world.allreduce(len(warnings)):
        print(f"rank {world.rank} saved after {len(warnings)} warnings", flush=True)
        sys.exit(85)
    time.sleep(0.1)
