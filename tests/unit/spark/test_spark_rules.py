"""What a job on Spark decides without Spark: who is which rank, and what its ends mean."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hvd_train.errors import DataError, MissingEnvironment, RankFailure, ToBeContinued, UserError
from hvd_train.spark.endings import error_of
from hvd_train.spark.gloo import slot, variables
from hvd_train.spark.hub import LOST, Hub, Member
from hvd_train.spark.places import Arrival, places, tf_config
from hvd_train.spark.rank_task import Line, facts, run_task
from hvd_train.spark.session import known_error


def arrival(task: int, host: str) -> Arrival:
    return Arrival(task, host, f"10.0.0.{task}", 4000 + task, "eth1", {"tensorflow": True, "horovod": True})


def test_ranks_of_one_host_follow_each_other() -> None:
    found = places([arrival(2, "b"), arrival(0, "a"), arrival(1, "b"), arrival(3, "a"), arrival(4, "a")])
    assert [(p.task, p.rank, p.host, p.local_rank, p.local_size) for p in found] == [
        (0, 0, "a", 0, 3),
        (3, 1, "a", 1, 3),
        (4, 2, "a", 2, 3),
        (1, 3, "b", 0, 2),
        (2, 4, "b", 1, 2),
    ]
    assert [(p.cross_rank, p.cross_size) for p in found] == [(0, 2), (0, 2), (0, 1), (1, 2), (1, 2)]
    assert json.loads(tf_config(found, found[3]))["task"] == {"type": "worker", "index": 3}
    assert json.loads(tf_config(found, found[3]))["cluster"]["worker"][3] == "10.0.0.1:4001"
    assert slot(found[4])["local_rank"] == 1
    assert variables(found[4], address="10.0.0.9", port=80)["HOROVOD_GLOO_IFACE"] == "eth1"


def test_on_one_host_nothing_leaves_it() -> None:
    found = places([arrival(0, "a"), arrival(1, "a")])
    assert {(p.ip, p.interface) for p in found} == {("127.0.0.1", "lo")}


def ended(rank: int, code: int, *lines: str, after: float = 0.0) -> Member:
    found = places([arrival(0, "a"), arrival(1, "b")])
    member = Member(arrival(rank, "ab"[rank]), None, found[rank], pid=77, code=code, ended=after)
    member.tail.extend(lines)
    return member


@pytest.mark.parametrize(
    ("members", "kind", "says"),
    [
        (
            [ended(0, 4), ended(1, -signal.SIGKILL, after=1)],
            RankFailure,
            "rank 1 on host b .process 77. was killed by SIGKILL",
        ),
        (
            [ended(0, 4, after=2), ended(1, LOST, after=1)],
            RankFailure,
            "rank 1 on host b .* executor on this host died",
        ),
        (
            [ended(1, 2), ended(0, 2, "x", "error: The column is not there.", after=1)],
            UserError,
            "^The column is not there.$",
        ),
        ([ended(0, 85), ended(1, 85)], ToBeContinued, "the same call of `fit` goes on"),
        (
            [ended(0, 0), ended(1, 1, "ValueError: boom")],
            RankFailure,
            "rank 1 on host b .* ended with code 1.*ValueError: boom",
        ),
    ],
)
def test_the_first_that_failed_by_itself_is_named(members: list[Member], kind: type, says: str) -> None:
    error = error_of(members)
    assert type(error) is kind
    with pytest.raises(kind, match=says):
        raise error  # type: ignore[misc]


def test_all_well() -> None:
    assert error_of([ended(0, 0), ended(1, 0)]) is None


def test_a_place_that_a_host_does_not_see() -> None:
    member = ended(1, 3)
    member.unseen = "/nfs/run"
    assert "rank 1 on host b does not see /nfs/run" in str(error_of([ended(0, 4), member]))


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("ModuleNotFoundError: No module named 'hvd_train'", MissingEnvironment, "hvd_train is not installed"),
        (
            "[PYTHON_VERSION_MISMATCH] Python in worker has different version: 3.12 than that in driver: 3.11",
            MissingEnvironment,
            "another Python than the driver .3.12 there, 3.11 here.",
        ),
        ('Cannot run program "/no/python": error=2, No such file', MissingEnvironment, "does not find its Python"),
        ("hvd_train.errors.DataError: x: it is bad.\n at java", DataError, "^x: it is bad.$"),
        ("java.io.IOException: No space left on device", DataError, "no space is left"),
    ],
)
def test_errors_of_spark_in_our_words(text: str, kind: type, says: str) -> None:
    error = known_error(text, "train")
    assert type(error) is kind
    with pytest.raises(kind, match=says):
        raise error  # type: ignore[misc]


def test_an_unknown_error_stays_as_it_is() -> None:
    assert known_error("java.lang.NullPointerException", "train") is None


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub("127.0.0.1", lambda text, is_error: None)
    yield hub
    hub.close()


def test_a_connection_without_the_word_is_not_heard(hub: Hub) -> None:
    stranger = Line(hub.address)
    stranger.send(token="guess", task=0, port=1, ip="127.0.0.1", **facts("127.0.0.1"))
    assert stranger.receive() is None
    assert not hub.members
    stranger.close()


def test_a_task_whose_connection_breaks_is_lost(hub: Hub) -> None:
    line = Line(hub.address)
    line.send(token=hub.token, task=0, port=1, ip="127.0.0.1", **facts("127.0.0.1"))
    assert hub.wait(lambda: len(hub.members) == 1, 10)
    line.close()
    assert hub.wait(lambda: hub.members[0].code == LOST, 10)


def test_a_task_that_is_not_started_ends(hub: Hub) -> None:
    codes: list[int] = []
    task = threading.Thread(target=lambda: codes.append(run_task(0, hub.address, hub.token)))
    task.start()
    assert hub.wait(lambda: len(hub.members) == 1, 10)
    hub.close()
    task.join(10)
    assert codes == [0]


def order(**changes: Any) -> dict[str, Any]:
    return {"arguments": [], "environment": {}, "config": "", "fetch": "", "must_see": [], **changes}


def test_a_rank_ends_with_its_driver(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/sleep")  # which takes "-m" for a mistake and says so
    assert run_in_thread(hub, order()) == 1
    assert "invalid" in " ".join(hub.members[0].tail)


def test_a_folder_that_is_not_there_is_told(hub: Hub) -> None:
    assert run_in_thread(hub, order(must_see=["/no/such/folder"])) == 3
    assert hub.members[0].unseen == "/no/such/folder"


def run_in_thread(hub: Hub, orders: dict[str, Any]) -> int:
    codes: list[int] = []
    task = threading.Thread(target=lambda: codes.append(run_task(0, hub.address, hub.token)))
    task.start()
    assert hub.wait(lambda: len(hub.members) == 1, 10)
    hub.start(hub.members[0], orders)
    task.join(20)
    assert hub.wait(lambda: hub.members[0].code is not None, 5)
    assert codes == [hub.members[0].code]
    return codes[0]


def test_a_rank_is_stopped_when_the_driver_is_gone(hub: Hub, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho running\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    codes: list[int] = []
    task = threading.Thread(target=lambda: codes.append(run_task(0, hub.address, hub.token)))
    task.start()
    assert hub.wait(lambda: len(hub.members) == 1, 10)
    member = hub.members[0]
    hub.start(member, order())
    assert hub.wait(lambda: "running" in member.tail, 10)
    pid = member.pid
    assert pid is not None
    hub.close()
    task.join(20)
    assert codes == [-signal.SIGTERM]
    time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_without_pyspark_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from hvd_train.spark.session import session_of

    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(MissingEnvironment, match=r"PySpark cannot be loaded here .*pip install hvd_train\[spark\]"):
        session_of(None)


def test_a_rank_that_was_asked_to_end_did_not_fail_first() -> None:
    asked = ended(0, -signal.SIGKILL)
    asked.was_asked = True
    assert "rank 1 on host b" in str(error_of([asked, ended(1, 1, "ValueError: boom", after=9)]))
