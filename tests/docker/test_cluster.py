"""Clusters of containers, as `make docker-train` makes them: the same curve, and every way in which they end."""

from __future__ import annotations

import csv
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import CLUSTER, docker
from processes import Finished, Job, horovodrun, run, started

Env = dict[str, str | None]
# Long enough to be hit in mid-epoch, and checkpoints to go on from.
LONG = ["--recipe", "debug", "--num-songs", "20000", "--num-epochs", "500", "--early-stopping-patience", "0",
        "--steps-per-execution", "1", "--checkpoint-every-steps", "50"]  # fmt: skip
ENDS_WITHIN_S = 30.0
SHORT = ["--recipe", "debug", "--num-epochs", "3", "--base-learning-rate", "0.003"]


def curve(run_dir: Path) -> list[dict[str, float]]:
    with (run_dir / "metrics.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def only_run(env: Env) -> Path:
    (run_dir,) = Path(str(env["RUNS"])).iterdir()
    return run_dir


def test_four_ranks_on_two_hosts_have_the_curve_of_four_on_this_machine(env: Env, tmp_path: Path) -> None:
    here = tmp_path / "here"
    # The containers make the songs anew; so does this machine here.
    fresh = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    run(horovodrun(4, "hvd-train", "train", *SHORT, "--run-dir", here), timeout_s=240, env=fresh)
    finished = run([CLUSTER, "train", *SHORT], timeout_s=240, env={**env, "NP": "4"})
    assert "node1 (2), node2 (2)" in finished.stdout
    assert len(curve(here)) == 3
    for a, b in zip(curve(only_run(env)), curve(here), strict=True):
        for name in ("loss", "val_loss", "val_rmse", "val_mae", "learning_rate"):
            assert a[name] == pytest.approx(b[name], rel=1e-3), f"{name} of epoch {a['epoch']:g}"
    for path in only_run(env).rglob("*"):
        assert (path.stat().st_uid, path.stat().st_gid) == (os.getuid(), os.getgid()), path
    assert (only_run(env) / "DONE").exists()


def test_a_table_of_this_machine_trains_on_every_host(env: Env, tmp_path: Path) -> None:
    table = tmp_path / "songs.csv"
    with table.open("w") as file:
        for row in range(600):
            file.write(",".join([str(1960 + row % 40), *(f"{(row * k) % 97 / 97:.3f}" for k in range(1, 13))]) + "\n")
    finished = run(
        [CLUSTER, "train", "--recipe", "debug", "--num-epochs", "1"], timeout_s=240, env={**env, "DATA": str(table)}
    )
    assert "/data/songs.csv" in finished.output
    assert (only_run(env) / "DONE").exists()


@contextmanager
def training(env: Env, *flags: str) -> Iterator[tuple[Job, str]]:
    """A job in mid-epoch on two hosts, and the id of the second's container."""
    with started([CLUSTER, "train", *LONG, *flags], timeout_s=300, env=env) as job:
        job.wait_for("epoch  2/500", timeout_s=150)
        project = re.findall(r"hvd-train-\d+-\d+", docker("network", "ls", "--format", "{{.Name}}"))
        assert len(project) == 1, "one cluster at a time is under test"
        node2 = [f"label=com.docker.compose.project={project[0]}", "label=com.docker.compose.service=node2"]
        yield job, docker("ps", "-q", "--filter", node2[0], "--filter", node2[1])


def cut(node: str) -> None:
    networks = docker("inspect", "-f", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}", node)
    docker("network", "disconnect", networks.split()[0], node)


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (lambda node: docker("kill", node), "host node2 is not running"),
        (lambda node: docker("pause", node), "host node2 is paused"),
        (cut, "host node2 is cut off from the network"),
    ],
    ids=["kill", "pause", "network disconnect"],
)
def test_a_lost_host_ends_the_job_in_time_by_name_and_the_run_goes_on(
    env: Env, happens: Callable[[str], object], told: str
) -> None:
    with training(env) as (job, node2):
        happens(node2)
        began = time.monotonic()
        finished = job.wait(ENDS_WITHIN_S + 10)
        seconds = time.monotonic() - began
    assert finished.code != 0
    assert seconds < ENDS_WITHIN_S, f"{seconds:.0f} s\n{finished}"
    assert told in finished.stderr, str(finished)
    assert not finished.left_behind
    assert (only_run(env) / "checkpoints" / "last.npz").is_file()
    epochs = max(map(int, re.findall(r"epoch +(\d+)/500", finished.stdout)))
    resumed = run([CLUSTER, "train", "--resume", "--num-epochs", str(epochs + 1)], timeout_s=240, env=env)
    assert f"Going on with {only_run(env)}" in resumed.stderr
    assert len(curve(only_run(env))) == epochs + 1
    assert (only_run(env) / "DONE").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_everything_and_brings_the_checkpoint_home(env: Env, number: int) -> None:
    with training(env) as (job, _):
        job.signal(number)
        finished = job.wait(ENDS_WITHIN_S)
    assert finished.code == 128 + number
    assert "The last checkpoint is complete" in finished.output
    assert (only_run(env) / "checkpoints" / "last.npz").is_file()
    assert not finished.left_behind


def refused(env: Env, *flags: str, within_s: float = 60, verb: str = "train") -> Finished:
    finished = run([CLUSTER, verb, *flags], timeout_s=within_s + 30, env=env, ok=False)
    assert finished.seconds < within_s, str(finished)
    assert finished.stderr.count("error: ") >= 1
    return finished


def extra(env: Env, tmp_path: Path, text: str) -> Env:
    (tmp_path / "extra.yaml").write_text(text)
    return {**env, "COMPOSE_EXTRA": str(tmp_path / "extra.yaml")}


def test_a_host_that_never_answers_is_named_after_the_limit(env: Env, tmp_path: Path) -> None:
    env = extra(env, tmp_path, "services:\n  node2: {entrypoint: [bash, -c, 'sleep 600']}\n")
    finished = refused({**env, "UP_LIMIT_S": "8"}, within_s=60)
    assert finished.code == 4
    assert "node2 did not answer on ssh within 8 s" in finished.stderr


def test_a_host_that_ends_at_once_is_named_with_its_last_words(env: Env, tmp_path: Path) -> None:
    env = extra(env, tmp_path, "services:\n  node2: {entrypoint: [bash, -c, 'echo no disk; exit 3']}\n")
    finished = refused(env, within_s=30)
    assert finished.code == 4
    assert "no disk" in finished.output
    assert "node2 ended before it answered" in finished.stderr


def test_small_shared_memory_is_refused_by_the_host(env: Env) -> None:
    finished = refused({**env, "SHM": "64m"}, within_s=30)
    assert finished.code == 4
    assert "/dev/shm has 64 MiB" in finished.output
    assert "at least 256 MiB are needed" in finished.output


def test_a_wrong_host_name_is_refused_by_name(env: Env, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("node1 slots=1\nnodeX slots=1\n")
    finished = refused({**env, "HOSTFILE": str(tmp_path / "hosts")}, "--recipe", "debug", within_s=40)
    assert finished.code == 2
    assert "host nodeX has no address" in finished.stderr


def test_more_ranks_than_slots_are_refused_before_anything_starts(env: Env) -> None:
    finished = refused({**env, "NP": "5", "SLOTS": "2"}, within_s=15)
    assert finished.code == 2
    assert finished.stderr.strip() == (
        "error: NP=5 ranks do not fit into 4 slots (node1:2,node2:2): ask for fewer, or for more HOSTS or SLOTS"
    )


@pytest.mark.parametrize(("place", "told"), [("/work/runs", "runs"), ("/home/hvd/.cache", ".cache")])
def test_a_full_disk_is_said(env: Env, tmp_path: Path, place: str, told: str) -> None:
    volume = f"services:\n  node1:\n    tmpfs: ['{place}:uid=1000,mode=0755,size=64k']\n"
    finished = refused(extra(env, tmp_path, volume), "--recipe", "debug", within_s=90)
    assert re.search(r"error: .*([Nn]o space|full)", finished.output), str(finished)
    assert told in finished.output
    assert "Traceback" not in finished.output


def test_a_standing_cluster_runs_jobs_and_goes_down(env: Env) -> None:
    env = {**env, "CLUSTER": "hvd-train-test"}
    run([CLUSTER, "up"], timeout_s=90, env=env)
    try:
        finished = run([CLUSTER, "run", "hostname"], timeout_s=90, env=env)
        assert sorted(finished.stdout.splitlines()) == ["[rank 1] node2", "node1"]
        assert run([CLUSTER, "run", "bash", "-c", "exit 9"], timeout_s=90, env=env, ok=False).code == 9
        head = docker(
            "ps",
            "-q",
            "--filter",
            "label=com.docker.compose.project=hvd-train-test",
            "--filter",
            "label=com.docker.compose.service=node1",
        )
        # Strict checking holds although horovodrun asks for none: a host that nobody knows is not talked to.
        told = docker(
            "exec",
            head,
            "bash",
            "-c",
            "ssh -o StrictHostKeyChecking=no $(getent hosts node2 | cut -d' ' -f1) true 2>&1 || true",
        )
        assert "Host key verification failed" in told
        users = docker(
            "exec", head, "bash", "-c", "for p in /proc/[0-9]*; do stat -c %u $p 2>/dev/null; done | sort -u"
        )
        assert users.split() == ["1000"]
        assert docker("port", head) == ""
        assert run([CLUSTER, "logs"], timeout_s=60, env=env).code == 0
    finally:
        run([CLUSTER, "down"], timeout_s=60, env=env)
