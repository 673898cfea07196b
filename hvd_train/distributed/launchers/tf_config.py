"""TF_CONFIG, by which TensorFlow's users, Kubeflow and `hvd-train launch` tell each process where all of them listen.

    {"cluster": {"chief": ["lab1:2222"], "worker": ["lab2:2222", "lab3:2222"]}, "task": {"type": "worker", "index": 0}}

The chief is rank 0 and the workers follow; without a chief the first worker is rank 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hvd_train.distributed.launchers.base import Launcher, placement_of
from hvd_train.distributed.placement import Cluster, Placement
from hvd_train.errors import UnusableLauncher

TF_CONFIG = "TF_CONFIG"
# Old TensorFlow called the chief "master".
CHIEFS = ("chief", "master")
TRAINERS = (*CHIEFS, "worker")
LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0")
EXAMPLE = '{"cluster": {"worker": ["lab1:2222", "lab2:2222"]}, "task": {"type": "worker", "index": 0}}'
OTHER_TASKS = {
    "ps": "hvd_train has no parameter servers: all ranks hold all weights. Leave ps out of the cluster.",
    "evaluator": "hvd_train evaluates on the ranks that train. Leave the evaluator out of the cluster.",
}
LARGEST_PORT = 65535


class TfConfig(Launcher):
    """Whatever has set TF_CONFIG: a user, a script, Kubeflow's training operator, Spark."""

    name = TF_CONFIG
    rank_variable = TF_CONFIG
    engines = ("tensorflow",)

    def detect(self, environment: Mapping[str, str], host: str) -> Placement | None:
        text = environment.get(TF_CONFIG, "")
        if not names_several(text):
            return None
        try:
            cluster = parse_tf_config(text)
        except UnusableLauncher:
            return Placement(0, 1, 0, 1, host=host, launcher=self.name)  # `refusal` says why
        here = [host_key(name) == host_key(cluster.hosts[cluster.rank]) for name in cluster.hosts]
        values = (cluster.rank, len(here), sum(here[: cluster.rank]), sum(here))
        return placement_of(self.name, host, *map(str, values))

    def rank_in(self, environment: Mapping[str, str]) -> str:
        try:
            return str(parse_tf_config(environment.get(TF_CONFIG, "")).rank)
        except UnusableLauncher:
            return ""

    def refusal(self, environment: Mapping[str, str], prefix: str, engine: str) -> str | None:
        try:
            parse_tf_config(environment.get(TF_CONFIG, ""))
        except UnusableLauncher as error:
            return str(error)
        return None

    def cluster(self, environment: Mapping[str, str]) -> Cluster:
        return parse_tf_config(environment.get(TF_CONFIG, ""))


class HvdTrainLaunch(TfConfig):
    """`hvd-train launch`, which sets TF_CONFIG and the id of its job for each process that it starts."""

    name = "hvd-train launch"
    job_variables = ("HVD_TRAIN_LAUNCH",)

    def detect(self, environment: Mapping[str, str], host: str) -> Placement | None:
        return super().detect(environment, host) if environment.get(self.job_variables[0]) else None


def tf_config_of(addresses: Sequence[str], index: int) -> str:
    """TF_CONFIG of the worker with this index.

    >>> tf_config_of(["lab1:2222"], 0)
    '{"cluster": {"worker": ["lab1:2222"]}, "task": {"type": "worker", "index": 0}}'
    """
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}})


def names_several(text: str) -> bool:
    """Whether TF_CONFIG asks for more than this process; also where it asks in a wrong way. Pure.

    Notebooks and cloud services set it for a single process, too.
    """
    if not text.strip():
        return False
    try:
        cluster = json.loads(text)["cluster"]
        return sum(len(addresses) for addresses in cluster.values()) > 1 or set(cluster) - set(TRAINERS) != set()
    except KeyError:
        return False
    except (ValueError, TypeError, AttributeError):
        return True


def parse_tf_config(text: str) -> Cluster:
    """The cluster that TF_CONFIG describes, by rank. Raises UnusableLauncher with the rule that it breaks. Pure."""
    try:
        given = json.loads(text)
    except ValueError as error:
        raise _wrong(f"it is not JSON ({error})") from None
    if not isinstance(given, dict) or not isinstance(given.get("cluster"), dict):
        raise _wrong('it has no "cluster" with lists of addresses')
    cluster: dict[str, Any] = given["cluster"]
    for name in cluster:
        if name not in TRAINERS:
            raise _wrong(
                OTHER_TASKS.get(name, f'its cluster has {name!r}, and hvd_train knows "chief" and "worker" alone')
            )
    jobs = [name for name in TRAINERS if cluster.get(name)]
    addresses = [address for name in jobs for address in _addresses(name, cluster[name])]
    if sum(len(cluster.get(name) or ()) for name in CHIEFS) > 1:
        raise _wrong("it has more than one chief")
    twice = sorted({address for address in addresses if addresses.count(address) > 1})
    if twice:
        raise _wrong(f"two tasks have the address {twice[0]}: each needs a port of its own")
    task = given.get("task")
    if not isinstance(task, dict) or "type" not in task or "index" not in task:
        raise _wrong('it has no "task" with a "type" and an "index", which tells a process which of the tasks it is')
    kind, index = task["type"], _index(task["index"])
    if kind in OTHER_TASKS:
        raise _wrong(f"this process is its task {kind}. {OTHER_TASKS[kind]}")
    if kind not in jobs:
        raise _wrong(f"its task is of type {kind!r}, and its cluster has {', '.join(jobs) or 'nobody'}")
    if not 0 <= index < len(cluster[kind]):
        raise _wrong(f"its task is {kind} {task['index']}, and there are {len(cluster[kind])}, numbered from 0")
    before = sum(len(cluster[name]) for name in jobs[: jobs.index(kind)])
    return Cluster(tuple(addresses), before + index)


def _index(value: object) -> int:
    """Kubeflow writes a number, some scripts write text."""
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _addresses(job: str, given: object) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(address, str) for address in given):
        raise _wrong(f"the addresses of {job} are no list of texts")
    for address in given:
        name, _, port = address.rpartition(":")
        if not name or not port.isdecimal() or not 0 < int(port) <= LARGEST_PORT:
            raise _wrong(f"{address!r} is no address of the form host:port")
    return given


def _wrong(why: str) -> UnusableLauncher:
    return UnusableLauncher(f"TF_CONFIG cannot be used: {why.rstrip('.')}. A valid one: {EXAMPLE}")


def host_key(name: str) -> str:
    """What ranks of one host have in common, by the name in their address. Pure.

    >>> host_key("127.0.0.1") == host_key("localhost"), host_key("Lab1")
    (True, 'lab1')
    """
    return LOOPBACK[0] if name.lower() in LOOPBACK else name.lower()


def cluster_key(environment: Mapping[str, str]) -> str:
    """A text that the processes of one TF_CONFIG cluster share and no others have; empty without one. Pure."""
    try:
        return "TF_CONFIG=" + ",".join(parse_tf_config(environment.get(TF_CONFIG, "")).addresses)
    except UnusableLauncher:
        return ""
