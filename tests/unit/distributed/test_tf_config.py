"""TF_CONFIG: which rank of how many it makes a process, and what is wrong with one that cannot be used."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hvd_train.distributed.engines import choose_engine
from hvd_train.distributed.launchers import detect_placement, job_of, launcher_of
from hvd_train.distributed.launchers.srun import Srun
from hvd_train.distributed.launchers.tf_config import parse_tf_config
from hvd_train.distributed.placement import Cluster, Placement
from hvd_train.errors import ConfigError, UnusableLauncher

CLUSTER = {"worker": ["lab2:1", "lab2:2"], "chief": ["lab1:1"]}


def tf_config(kind: str = "worker", index: Any = 0, cluster: Any = CLUSTER) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


def test_the_chief_is_the_root_and_the_workers_follow() -> None:
    assert parse_tf_config(tf_config("chief")) == Cluster(("lab1:1", "lab2:1", "lab2:2"), 0)
    assert parse_tf_config(tf_config("worker", 1)).rank == 2
    assert parse_tf_config(tf_config("worker", "1")).rank == 2
    assert parse_tf_config(tf_config("worker", 1, {"worker": ["a:1", "b:1"]})).rank == 1


def test_a_process_learns_its_placement() -> None:
    environment = {"TF_CONFIG": tf_config("worker", 1)}
    placement = detect_placement(environment, host="lab2")
    assert placement == Placement(2, 3, 1, 2, host="lab2", launcher="TF_CONFIG")
    assert launcher_of(placement).rank_in(environment) == "2"
    assert choose_engine(placement) == "tensorflow"
    launched = detect_placement({**environment, "HVD_TRAIN_LAUNCH": "7f"}, host="lab2")
    assert launched == Placement(2, 3, 1, 2, host="lab2", launcher="hvd-train launch")


def test_all_tasks_of_a_cluster_are_one_job_and_others_are_not() -> None:
    first, second = ({"TF_CONFIG": tf_config("worker", index)} for index in (0, 1))
    other = {"TF_CONFIG": tf_config(cluster={"worker": ["lab2:1", "lab2:9"]})}
    assert job_of(first) == job_of(second) != job_of(other)
    assert not job_of({})


@pytest.mark.parametrize("text", ["", "{}", '{"cluster": {}}', tf_config(cluster={"worker": ["a:1"]})])
def test_a_process_alone_stays_alone(text: str) -> None:
    placement = detect_placement({"TF_CONFIG": text}, host="h")
    assert (placement.size, placement.launcher) == (1, "")


def test_mpirun_is_believed_first() -> None:
    ranks = {f"OMPI_COMM_WORLD_{key}": "1" for key in ("RANK", "LOCAL_RANK")}
    ranks |= {f"OMPI_COMM_WORLD_{key}": "2" for key in ("SIZE", "LOCAL_SIZE")}
    assert detect_placement({"TF_CONFIG": tf_config(), **ranks}, host="h").launcher == "mpirun"


WRONG = {
    "{'cluster'": "it is not JSON",
    '["a"]': 'no "cluster"',
    json.dumps({"cluster": CLUSTER}): 'no "task"',
    json.dumps({"cluster": CLUSTER, "task": {"type": "worker"}}): 'no "task"',
    tf_config("worker", 2): "its task is worker 2, and there are 2, numbered from 0",
    tf_config("worker", -1): "its task is worker -1",
    tf_config("worker", "one"): "its task is worker one",
    tf_config("evaluator"): "evaluates on the ranks that train",
    tf_config("ps", cluster={**CLUSTER, "ps": ["lab9:1"]}): "no parameter servers",
    tf_config("chief", cluster={"worker": ["a:1", "b:1"]}): "its cluster has worker",
    tf_config(cluster={"worker": ["a:1", "a:1"]}): "two tasks have the address a:1",
    tf_config(cluster={"worker": ["a", "b:1"]}): "'a' is no address of the form host:port",
    tf_config(cluster={"worker": ["a:0", "b:99999"]}): "no address",
    tf_config(cluster={"worker": "a:1"}): "no list of texts",
    tf_config(cluster={"trainer": ["a:1", "b:1"]}): "'trainer'",
    tf_config("chief", cluster={"chief": ["a:1", "b:1"]}): "more than one chief",
}


@pytest.mark.parametrize(("text", "why"), WRONG.items())
def test_a_wrong_one_is_refused_with_its_rule(text: str, why: str) -> None:
    with pytest.raises(UnusableLauncher, match="TF_CONFIG cannot be used: ") as caught:
        parse_tf_config(text)
    assert why in str(caught.value)
    placement = detect_placement({"TF_CONFIG": text}, host="h")
    assert launcher_of(placement).refusal({"TF_CONFIG": text}, "", "solo") == str(caught.value)


def test_an_engine_joins_only_ranks_that_it_can_find() -> None:
    mpirun, srun = (Placement(0, 2, 0, 1, "h", name) for name in ("mpirun", "srun"))
    assert [choose_engine(srun, wanted) for wanted in ("auto", "tensorflow")] == ["horovod", "tensorflow"]
    with pytest.raises(ConfigError, match=r"tensorflow cannot join the ranks that mpirun started"):
        choose_engine(mpirun, "tensorflow")
    with pytest.raises(ConfigError, match=r"solo is for one rank, but mpirun started 2"):
        choose_engine(mpirun, "solo")
    assert choose_engine(Placement(0, 1, 0, 1, "h", ""), "tensorflow") == "solo"


def test_srun_tells_where_its_tasks_listen() -> None:
    step = {
        "SLURM_JOB_ID": "1234",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NODELIST": "node[1-2]",
        "SLURM_STEP_TASKS_PER_NODE": "2,1",
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_PROCID": "1",
    }
    first = 10_000 + 1234 * 256 % 20_000
    assert Srun().cluster(step) == Cluster((f"node1:{first}", f"node1:{first + 1}", f"node2:{first}"), 1)
    dealt = Srun().cluster({**step, "SLURM_DISTRIBUTION": "cyclic"})
    assert dealt.addresses == (f"node1:{first}", f"node2:{first}", f"node1:{first + 1}")
    with pytest.raises(UnusableLauncher, match="2 hosts .* with 3 tasks, but 4 tasks in all"):
        Srun().cluster({**step, "SLURM_STEP_NUM_TASKS": "4"})
    assert Srun().refusal(step, "", "tensorflow") is None
    assert "--engine tensorflow needs neither" in str(Srun().refusal(step, "", "horovod"))
