"""Open MPI takes the automatic size of messages that it sends at once, without a word, and what it sends so arrives."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from processes import REPOSITORY, mpirun, run

# Both ranks believe to be on hosts of their own.
HEAD = """
import os
os.environ["OMPI_COMM_WORLD_LOCAL_SIZE"] = "1"
os.environ["OMPI_COMM_WORLD_LOCAL_RANK"] = "0"
"""
KERAS = """
import numpy as np
import hvd_train.keras as hvd
hvd.init()
total = lambda rows: np.asarray(hvd.allreduce(np.array(rows), op=hvd.Sum, name=f"rows-{len(rows)}"))
rank, size = hvd.rank(), hvd.size()
"""
OPEN_WORLD = """
import numpy as np
from hvd_train.distributed import open_world
world = open_world()
total = lambda rows: world.allreduce_sum(rows, name=f"rows-{len(rows)}", dtype="float32")
rank, size = world.rank, world.size
"""
TAIL = """
for number in (1000, 200_000, 261_000, 600_000):
    for turn in range(10):
        found = total(np.full(number, rank + turn, np.float32))
        assert found.min() == found.max() == turn * size + size * (size - 1) / 2, (number, found)
print("arrived", flush=True)
"""
ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"}
# What it writes on some CPUs, and no log level silences.
OF_TENSORFLOW = "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR"
TCP = ("--mca", "btl", "self,tcp", "--mca", "mpi_show_mca_params", "enviro,file")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("program", [KERAS, OPEN_WORLD], ids=["hvd_train.keras", "open_world"])
def test_open_mpi_takes_it(program: str) -> None:
    command = mpirun(2, sys.executable, "-c", HEAD + program + TAIL)
    command[1:1] = TCP
    finished = run(command, timeout_s=150, env=ENVIRONMENT)
    assert finished.stdout.count("arrived") == 2, str(finished)
    assert "btl_tcp_eager_limit=1048576 (environment)" in finished.output, str(finished)
    assert "btl_tcp_max_send_size" not in finished.output
    assert "WARNING" not in finished.output.replace(OF_TENSORFLOW, "").upper(), str(finished)


FILE_OF_ONE_RANK = """
if os.environ["OMPI_COMM_WORLD_RANK"] == "0":  # the rank whose settings Open MPI shows
    os.environ["OMPI_MCA_mca_base_param_files"] = os.environ["OWN_LIMITS"]
"""


@pytest.mark.timeout(200)
def test_a_rank_with_its_own_limit_has_room_for_what_the_others_send(tmp_path: Path) -> None:
    """As on a host whose file of Open MPI sets the limit. Without room Open MPI would write beyond its memory."""
    (tmp_path / "limits.conf").write_text("btl_tcp_eager_limit = 32768\n")
    command = mpirun(2, sys.executable, "-c", HEAD + FILE_OF_ONE_RANK + KERAS + TAIL)
    command[1:1] = TCP
    finished = run(command, timeout_s=150, env={**ENVIRONMENT, "OWN_LIMITS": str(tmp_path / "limits.conf")})
    assert finished.stdout.count("arrived") == 2, str(finished)
    for setting in ("eager_limit=32768 (", "max_send_size=1048576 (environment)"):
        assert f"btl_tcp_{setting}" in finished.output, str(finished)
