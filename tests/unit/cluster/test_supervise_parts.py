"""The small parts of the supervisor: numbers of ranks, commands, what mpirun says, leftovers on a host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hvd_train.cluster.supervise.allocation import Allocation, place, rank_count, refuse_too_few
from hvd_train.cluster.supervise.chatter import Chatter
from hvd_train.cluster.supervise.command import MARK, launch
from hvd_train.cluster.supervise.hosts import same_host
from hvd_train.errors import UserError
from hvd_train.hostfiles import Host

RULE = "-" * 74 + "\n"


@pytest.mark.parametrize(
    ("slots", "shards", "np", "wanted"),
    [
        (1, 64, None, 1),
        (3, 64, None, 2),
        (100, 64, None, 64),
        (7, 48, None, 6),
        (7, 48, 5, 4),
        (4, 64, 8, 4),
        (5, 5, None, 5),
        (4, 5, None, 1),
        (0, 64, None, 0),
    ],
)
def test_the_largest_number_of_ranks_that_divides(slots: int, shards: int, np: int | None, wanted: int) -> None:
    assert rank_count(slots, shards, np) == wanted


def test_ranks_fill_the_first_hosts_first() -> None:
    hosts = [Host("a", 1), Host("b", 3), Host("c", 2)]
    assert place(hosts, 3) == {"a": 1, "b": 2}
    assert place(hosts, 6) == {"a": 1, "b": 3, "c": 2}


def test_too_few_slots_are_refused_with_a_way_out() -> None:
    here = Allocation((Host("localhost", 2),), "this machine")
    with pytest.raises(UserError, match=r"--np 4: there are 2 slots .* --hosts localhost:4"):
        refuse_too_few(here, 4, 1)
    with pytest.raises(UserError, match=r"--min-ranks 3: there are 2 slots"):
        refuse_too_few(here, None, 3)
    with pytest.raises(UserError, match="is less than"):
        refuse_too_few(here, 1, 2)
    refuse_too_few(here, 2, 2)


def test_mpirun_is_told_the_hosts_the_agent_and_the_environment() -> None:
    environment = {"PATH": "/bin", "HOROVOD_CYCLE_TIME": "1", "HOME": "/root", MARK: "x"}
    hostfile = Path("/run/hostfile")
    command = launch(
        "mpirun", {"a": 2, "b": 1}, ["hvd-train"], environment, hostfile=hostfile, agent="qrsh -inherit -V"
    )
    assert Path(command[0]).name == "mpirun"
    text = " ".join(command)
    assert "-np 3" in text
    assert "--bind-to none --map-by slot" in text
    assert "--hostfile /run/hostfile" in text
    assert f"-x HOROVOD_CYCLE_TIME -x {MARK} -x PATH" in text
    assert "HOME" not in text
    assert command[-4:] == ["--mca", "plm_rsh_agent", "qrsh -inherit -V", "hvd-train"]
    alone = launch("mpirun", {"localhost": 2}, ["hvd-train"], environment, hostfile=None)
    assert "-x" not in alone


def test_the_other_launchers() -> None:
    srun = launch("srun", {"a": 2, "b": 1}, ["hvd-train"], {}, hostfile=None)
    assert srun[:5] == ["srun", "--mpi=pmix", "--ntasks=3", "--nodes=2", "--nodelist=a,b"]
    horovodrun = launch("horovodrun", {"a": 2, "b": 1}, ["hvd-train"], {}, hostfile=None)
    assert horovodrun[1:] == ["-np", "3", "-H", "a:2,b:1", "hvd-train"]


def heard(text: str) -> tuple[str, Chatter]:
    chatter = Chatter()
    passed = "".join(chatter.feed(line) for line in text.splitlines(keepends=True))
    return passed + chatter.rest(), chatter


@pytest.mark.parametrize(
    "block",
    [
        "Primary job  terminated normally, but 1 process returned\na non-zero exit code. Per user-direction, the job has been aborted.\n",
        "mpirun detected that one or more processes exited with non-zero status, thus causing\nthe job to be terminated. The first process to do so was:\n\n  Process name: [[2423,1],1]\n  Exit code:    85\n",
        "mpirun noticed that process rank 1 with PID 12 on node lab1 exited on signal 15 (Terminated).\n",
        "An MPI communication peer process has unexpectedly disconnected.  This\nusually indicates a failure in the peer process.\n",
    ],
)
def test_what_repeats_an_exit_code_is_left_out(block: str) -> None:
    assert heard(f"before\n{RULE}{block}{RULE}after\n")[0] == "before\nafter\n"


def test_news_and_other_dashes_are_passed_on() -> None:
    news = f"{RULE}mpirun noticed that process rank 1 with PID 12 on node lab2 exited on signal 9 (Killed).\n{RULE}"
    passed, chatter = heard(news)
    assert passed == news
    assert chatter.named == {"lab2"}
    assert heard(RULE)[0] == RULE
    many = RULE + "row\n" * 100
    assert heard(many)[0] == many


def test_the_first_error_of_a_rank_and_its_host_are_kept() -> None:
    text = (
        "error: rank 1 on host lab2 (last heard: step 3 of epoch 2) has not answered for 3 s: frozen, or the network is cut; "
        "ending the job. The last checkpoint is complete: runs/a/checkpoints/last.npz. Go on with: hvd-train train\n"
        "[rank 1 of 2 on host lab2] error: another\n"
    )
    chatter = heard(text)[1]
    assert chatter.said == (
        "rank 1 on host lab2 (last heard: step 3 of epoch 2) has not answered for 3 s: frozen, or the network is cut"
    )
    assert chatter.named == {"lab2"}
    died = "error: rank 2 on host a.b, rank 3 on host c died without a word, last heard up to 1 s before: the start (killed)\n"
    assert heard(died)[1].named == {"c"}


def test_names_of_one_host() -> None:
    assert same_host("node1", "node1.cluster.local")
    assert same_host("localhost", os.uname().nodename)
    assert not same_host("node1", "node2")
    assert not same_host("localhost", "elsewhere")
