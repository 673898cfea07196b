"""The exchange in two levels: the same run on every layout of hosts, the same bits again, and MPI where a host cannot take part."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from namespaces import NAMES, Lab
from processes import BIN

# Ranks on each of the two hosts. Nothing is exchanged on the first.
ALONE, LAYOUTS = (1, 0), (pytest.param((1, 1), marks=pytest.mark.slow), (2, 2), (3, 1))
TRAIN = [
    *("train", "--recipe", "debug", "--num-epochs", "3", "--base-learning-rate", "0.003"),
    *("--conv-dropout", "0.2", "--dense-dropout", "0.5", "--check-equal-weights"),
]  # fmt: skip
CURVE = 1e-3
LIMIT_S = 240
USED = "HOROVOD_TWO_LEVELS=1"
WITHOUT = "Gradients go through MPI"

Trained = Callable[..., Path]


@pytest.fixture(scope="module")
def trained(lab: Lab) -> Trained:
    """The directory of a run with so many ranks on each host, trained once for the module."""
    done: dict[tuple[object, ...], Path] = {}

    def train(layout: tuple[int, int], *flags: str, turn: int = 0) -> Path:
        key = (layout, flags, turn)
        if key not in done:
            run_dir = done[key] = lab.local / f"run-{len(done)}"
            command = [BIN / "hvd-train", *TRAIN, "--run-dir", run_dir, *flags]
            output = run_on(lab, layout, *command)
            assert (USED in output) == (0 not in layout), output
            assert WITHOUT not in output
        return lab.files(0) / done[key].name

    return train


def run_on(lab: Lab, layout: tuple[int, int], *command: str | Path) -> str:
    """The output of the command on so many ranks of each host."""
    hosts = ",".join(f"{name}:{ranks}" for name, ranks in zip(NAMES, layout, strict=False) if ranks)
    launch = [BIN / "mpirun", "-np", sum(layout), "--host", hosts, "--bind-to", "none", "--map-by", "slot"]
    with lab.running(0, *map(str, [*launch, *command]), timeout_s=LIMIT_S) as job:
        finished = job.wait(LIMIT_S)
    assert finished.code == 0, str(finished)
    return finished.output


def curve(run_dir: Path) -> list[dict[str, float]]:
    with (run_dir / "metrics.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def arrays(run_dir: Path) -> dict[str, bytes]:
    """Of the last checkpoint: weights, moments and random generators."""
    with numpy.load(run_dir / "checkpoints" / "last.npz") as found:
        return {name: found[name].tobytes() for name in found if name != "note"}


def metrics(run_dir: Path) -> dict[str, Any]:
    return dict(json.loads((run_dir / "report.json").read_text())["metrics"])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_curve_is_that_of_one_process(trained: Trained, layout: tuple[int, int]) -> None:
    one, other = trained(ALONE), trained(layout)
    assert len(curve(other)) == 3
    for a, b in zip(curve(one), curve(other), strict=True):
        for name in ("loss", "val_loss", "val_rmse"):
            assert a[name] == pytest.approx(b[name], rel=CURVE), f"{name} of epoch {a['epoch']:g}"
    assert metrics(one)["test"] == pytest.approx(metrics(other)["test"], rel=CURVE)


@pytest.mark.timeout(600)
def test_the_same_layout_gives_the_same_bits_again(trained: Trained) -> None:
    assert arrays(trained((2, 2))) == arrays(trained((2, 2), turn=1))


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_groups_that_leave_early_give_the_same_bits(trained: Trained) -> None:
    assert arrays(trained((2, 2))) == arrays(trained((2, 2), "--gradient-groups", "2"))


@pytest.mark.timeout(600)
def test_rounding_between_hosts_changes_the_curve_a_little_and_no_rank_differs(trained: Trained) -> None:
    exact, rounded = (curve(trained((2, 2), *flags)) for flags in ((), ("--wire-precision", "bfloat16")))
    assert [row["loss"] for row in exact] != [row["loss"] for row in rounded]
    assert rounded[-1]["val_loss"] == pytest.approx(exact[-1]["val_loss"], rel=0.05)


PROGRAM = """
import os, resource, signal, sys

if int(os.environ["OMPI_COMM_WORLD_RANK"]) == 2 and sys.argv[1] == "no room":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # Of a file: enough for Open MPI's segment of 4 MiB, not for two windows of 2 MiB for each rank.
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 << 20, 6 << 20))
if int(os.environ["OMPI_COMM_WORLD_RANK"]) == 3 and sys.argv[1] == "one rank says no":
    os.environ["HOROVOD_TWO_LEVELS"] = "0"
import tensorflow as tf  # its hwloc must not come after that of MPI

if sys.argv[1] == "no way":
    from mpi4py import MPI  # which has its connections now

    if MPI.COMM_WORLD.rank == 0:
        os.environ["OMPI_MCA_btl_tcp_if_include"] = "docker0"
import horovod.tensorflow as hvd
from hvd_train.keras.optimizers import shared_update

hvd.init()
assert (shared_update.block_length() > 0) == (sys.argv[1] == "on")
for turn in range(20):
    found = hvd.allreduce(tf.fill([300_000], float(hvd.rank() + turn)), name="x").numpy()
    assert found.min() == found.max() == turn + (hvd.size() - 1) / 2, found
hvd.shutdown()
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["on", "no room", "no way", "one rank says no"])
def test_all_use_mpi_where_a_host_cannot_take_part(lab: Lab, tmp_path: Path, how: str) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    env = ["env", "HOROVOD_TWO_LEVELS=1", "HOROVOD_IDLE_CYCLE_TIME=50", BIN / "python"]
    output = run_on(lab, (2, 2), *env, path, how)
    said = "The ranks share no memory: rank 2 cannot create 9 MiB of memory (File too large). Gradients go through MPI"
    assert output.count(said) == (how == "no room"), output
    said = "There is no exchange in two levels: rank 2 cannot connect to rank 0 (Connection refused). Gradients go through MPI"
    assert output.count(said) == (how == "no way"), output


# Rank 2 has no room, as above.
WITHOUT_ROOM = """
import os, resource, signal, sys

if os.environ["OMPI_COMM_WORLD_RANK"] == "2":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 << 20, 6 << 20))
from hvd_train.cli.entry import main

sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.timeout(300)
def test_a_run_tells_that_its_gradients_go_through_mpi(lab: Lab, tmp_path: Path) -> None:
    """And why, in its log and its report. Open MPI sends larger messages at once then."""
    path = tmp_path / "train.py"
    path.write_text(WITHOUT_ROOM)
    run_dir = lab.local / "run-without-room"
    flags = ("--recipe", "debug", "--num-epochs", "1", "--num-songs", "1000", "--run-dir", str(run_dir))
    output = run_on(lab, (2, 2), BIN / "python", path, "train", *flags)
    assert output.count(WITHOUT) == 1, output
    report = json.loads((lab.files(0) / run_dir.name / "report.json").read_text())
    told = report["found"]["gradients"]
    assert told.startswith("MPI ("), told
    assert told.endswith(
        ", not two levels: a rank could not open what they need. The warning of Horovod at the start has the rank and the reason"
    )
    assert report["settings"]["set"]["OMPI_MCA_btl_tcp_eager_limit"] == "1048576"
