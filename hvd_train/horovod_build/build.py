"""Build the Horovod wheel for this environment once, and keep it in the user's cache.

wheel_cache.py says where the cache is. A build happens in a temporary directory and reaches the cache by one rename, so an
interrupted one leaves nothing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from hvd_train.horovod_build import compilation, cuda, environment, mpi, series, source, tools, wheel_cache
from hvd_train.horovod_build.messages import BuildError, say


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def wheel(mpi_choice: str = "auto", *, gpu: str = "none", jobs: int | None = None, only_compiles: bool = False) -> Path:
    """The path of the wheel for this environment, from the cache or built. Raises BuildError.

    With `only_compiles` it is stock Horovod with the patches alone without which it does not compile.
    """
    environment.require_tensorflow()
    mpi_name, wrapper = mpi.find(mpi_choice)
    patches = series.read_series()[: series.NUM_TO_COMPILE if only_compiles else None]
    folder = wheel_cache.cache_dir() / wheel_cache.wheel_key(mpi_name, wrapper, gpu, patches)
    try:
        with wheel_cache.locked(folder.parent / f"{folder.name}.lock"):
            found = wheel_cache.cached_wheel(folder) or wheel_cache.wheel_without_libc(folder)
            return found or _build(mpi_name, wrapper, jobs or cores(), folder, gpu, patches)
    except OSError as error:
        raise BuildError(
            f"{error.filename or folder}: {error.strerror or error}. The wheel is kept in {folder.parent}: make room there, or "
            "set XDG_CACHE_HOME to a directory that this user may write to."
        ) from None


def _build(mpi_name: str, wrapper: str, jobs: int, folder: Path, gpu: str, patches: list[series.Patch]) -> Path:
    """Compile the wheel of `folder`, a key in the cache. Returns the wheel's path. Raises BuildError."""
    environment.require_compiler()
    say(
        f"Building the Horovod {source.HOROVOD_VERSION} wheel, once for this combination (about 5 minutes on 2 cores):\n  {folder.name}"
    )
    started = time.monotonic()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hvd_train-horovod-") as scratch, \
         tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as fresh:  # fmt: skip
        work = Path(scratch)
        helpers = tools.find_tools(work / "tools")
        sdist = source.fetch_sdist(wheel_cache.sdist_dir(), helpers)
        patched = source.unpack_and_patch(sdist, work / "source", patches)
        variables = compilation.build_environment(wrapper, jobs, helpers)
        if gpu == "cuda":
            variables |= cuda.prepare(patched, work)
        wheel = compilation.compile_wheel(patched, variables, work / "build.log")
        if mpi_name == "openmpi" or gpu == "cuda":
            wheel = compilation.make_relocatable(wheel, work, helpers=helpers, own_mpi=mpi_name == "openmpi", gpu=gpu)
        whole = Path(fresh) / "wheel"
        whole.mkdir()
        copied = Path(shutil.copy(wheel, whole))
        copied.with_suffix(".sha256").write_text(wheel_cache.sha256(copied) + "\n")
        os.replace(whole, folder)
    say(f"Built in {time.monotonic() - started:.0f} s; kept in {folder}")
    return folder / wheel.name
