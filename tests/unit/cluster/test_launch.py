"""`hvd-train launch` with ranks that are small scripts: what they are told, who ends whom, what is left behind."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from pathlib import Path

import psutil
import pytest

from hvd_train.cli.cluster.launch_verb import Output
from hvd_train.cluster.launch import Launch, plan_ranks
from hvd_train.cluster.launch.ranks import ending
from hvd_train.cluster.supervise.allocation import Allocation
from hvd_train.errors import UserError
from hvd_train.hostfiles import Host

HERE = Allocation((Host("localhost", 2),), "this machine")


class Trial:
    """A launch of a Python script on ranks of this machine."""

    def __init__(self, script: str, ranks: int = 2) -> None:
        self.written: dict[tuple[int, str], bytes] = defaultdict(bytes)
        self.told: list[str] = []
        command = [sys.executable, "-c", f"import os, sys, json, time, signal\n{script}"]
        hosts = plan_ranks(HERE, ranks)
        launch = Launch(HERE, hosts, command, dict(os.environ), write=self._write, tell=self.told.append)
        began = time.monotonic()
        self.code = launch.run()
        self.seconds = time.monotonic() - began

    def _write(self, rank: int, name: str, content: bytes) -> None:
        self.written[rank, name] += content


def test_each_rank_learns_where_all_of_them_listen() -> None:
    trial = Trial("print(os.environ['TF_CONFIG'], os.environ['HVD_TRAIN_LAUNCH'])")
    (first, job), (second, other) = (trial.written[rank, "stdout"].decode().rsplit(maxsplit=1) for rank in (0, 1))
    assert job == other
    assert json.loads(first)["cluster"] == json.loads(second)["cluster"]
    addresses = json.loads(first)["cluster"]["worker"]
    assert len(set(addresses)) == 2
    assert [json.loads(text)["task"] for text in (first, second)] == [{"type": "worker", "index": n} for n in (0, 1)]
    assert (trial.code, trial.told) == (0, [])


RANK = "rank = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"


def test_the_first_that_fails_ends_all_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hvd_train.cluster.launch.ranks.LAST_WORDS_S", 0.5)
    pids = tmp_path / "pid"
    script = f"{RANK}if rank: os.kill(os.getpid(), 9)\nopen({str(pids)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    trial = Trial(script)
    assert trial.code == 137
    assert len(trial.told) == 1
    assert "rank 1 on host" in trial.told[0]
    assert "exit code 137 (SIGKILL)" in trial.told[0]
    assert trial.seconds < 30
    assert not psutil.pid_exists(int(pids.read_text() or 0))


def test_a_mistake_that_all_ranks_report_is_reported_once() -> None:
    trial = Trial("sys.stderr.write('no such file'); sys.exit(2)")
    assert (trial.code, trial.told) == (2, [])


def test_a_signal_goes_to_every_rank() -> None:
    script = (
        f"{RANK}signal.signal(signal.SIGUSR1, lambda *_: sys.exit(85))\n"
        f"if rank: time.sleep(0.5); os.kill({os.getpid()}, signal.SIGUSR1)\n"
        "time.sleep(60)"
    )
    trial = Trial(script)
    assert (trial.code, trial.told) == (85, [])


def test_a_program_that_is_not_there_is_named() -> None:
    written: list[bytes] = []
    launch = Launch(
        HERE, plan_ranks(HERE, 1), ["/no/such"], dict(os.environ), write=lambda *a: written.append(a[2]), tell=print
    )
    assert launch.run() == 127
    assert b"/no/such cannot be started" in b"".join(written)


def test_hosts_are_filled_in_order_and_never_beyond_their_slots() -> None:
    hosts = Allocation((Host("a", 2), Host("b", 2)), "-H a:2,b:2")
    assert [host.name for host in plan_ranks(hosts, 3)] == ["a", "a", "b"]
    assert len(plan_ranks(hosts, None)) == 4
    with pytest.raises(UserError, match="there are 4 slots"):
        plan_ranks(hosts, 5)
    with pytest.raises(UserError, match="at least one rank"):
        plan_ranks(hosts, 0)
    assert len(plan_ranks(HERE, 5)) == 5


def test_how_a_rank_ended_is_told_in_words() -> None:
    assert ending(143) == "with exit code 143 (SIGTERM)"
    assert ending(255) == "with exit code 255"


def test_tagged_output_has_the_rank_before_each_whole_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output = Output(tag=True)
    output.write(1, "stdout", b"half ")
    output.write(0, "stdout", b"one\n")
    output.write(1, "stdout", b"a line\nnext\n")
    assert capfdbinary.readouterr().out == b"[0]<stdout>: one\n[1]<stdout>: half a line\n[1]<stdout>: next\n"
