"""What there is of Horovod in this environment, and what a build of it would use. Nothing is changed."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse

from hvd_train.horovod_build import environment, mpi, wheel_cache
from hvd_train.horovod_build.installed import added_variables
from hvd_train.horovod_build.messages import BuildError

INSTALL = "hvd-train horovod install"


@dataclass(frozen=True)
class Line:
    """One thing looked at. `is_problem` where Horovod does not work for this reason, or cannot be built."""

    about: str
    found: str
    is_problem: bool = False


def horovod_status() -> list[Line]:
    """TensorFlow, Keras, MPI, the compiler, the wheel in the cache and the installed Horovod."""
    lines = [
        _checked("TensorFlow", lambda: " ".join(environment.require_tensorflow())),
        _keras(),
        _checked("MPI", _mpi),
        _compiler(),
    ]
    key = _wanted_key() if not any(line.is_problem for line in (lines[0], lines[2])) else ""
    if key:
        folder = wheel_cache.cache_dir() / key
        there = folder.is_dir() and any(folder.glob("*.whl"))
        lines.append(Line("wheel", f"{folder}" if there else f"none yet in {folder.parent}"))
    return [*lines, _horovod(key)]


def installed_key() -> str:
    """The key of the wheel that Horovod was installed from, which is the name of its folder; or an empty string."""
    with contextlib.suppress(metadata.PackageNotFoundError, ValueError, KeyError):
        # pip and uv note the address of a local file.
        text = metadata.distribution("horovod").read_text("direct_url.json")
        return Path(unquote(urlparse(json.loads(text or "{}")["url"]).path)).parent.name
    return ""


def _checked(about: str, look: Callable[[], str]) -> Line:
    try:
        return Line(about, look())
    except BuildError as error:
        return Line(about, str(error), is_problem=True)


def _keras() -> Line:
    version = environment.version_of("keras")
    old = not version.startswith("3.")
    return Line("Keras", f"{version or 'none'}{': pip install keras>=3.6' if old else ''}", is_problem=old)


def _mpi() -> str:
    name, wrapper = mpi.find("auto")
    return f"{mpi.mpi_identity(name, wrapper)} ({wrapper})"


def _compiler() -> Line:
    """No problem where it is missing: what is installed works without it."""
    try:
        environment.require_compiler()
    except BuildError as error:
        return Line("compiler", f"{error} (for a build alone)")
    return Line("compiler", str(shutil.which(environment.compiler())))


def _wanted_key() -> str:
    with contextlib.suppress(BuildError):
        return wheel_cache.wheel_key(*mpi.find("auto"))
    return ""


def _horovod(wanted: str) -> Line:
    version = environment.version_of("horovod")
    if not version:
        return Line("Horovod", f"is not installed in {sys.prefix}: {INSTALL}", is_problem=True)
    key = installed_key()
    if key and key == wanted:
        return Line("Horovod", f"{version}, built by hvd_train for what is here")
    if key.startswith("horovod"):
        return Line("Horovod", f"{version}, built for something else ({key}): {INSTALL}", is_problem=True)
    if added_variables():
        return Line("Horovod", f"{version}, built with the patches of hvd_train")
    return Line("Horovod", f"{version}, built by somebody else: it may work, but slower. For the fast one: {INSTALL}")
