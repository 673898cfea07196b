"""What files of Open MPI set for every job. A variable of the environment would win over them, so who sets one looks here first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

NAME = "openmpi-mca-params.conf"
# Whoever sets it names all files that count.
FILES = "OMPI_MCA_mca_base_param_files"
LINE = re.compile(r"\s*(\w+)\s*=\s*(.*?)\s*")


def mca_settings(environment: Mapping[str, str], prefix: str = "", *, root: Path = Path("/")) -> dict[str, str]:
    """The values by the variables of the environment that would set the same. Any rank, each for its own host.

    `prefix` is the root of this environment where Open MPI is installed in it, otherwise empty. Of another Open MPI the
    files in /etc are read.
    """
    found: dict[str, str] = {}
    for path in files(environment, prefix, root):
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            if match := LINE.fullmatch(line):
                found.setdefault(f"OMPI_MCA_{match[1]}", match[2])
    return found


def files(environment: Mapping[str, str], prefix: str, root: Path) -> list[Path]:
    """Where Open MPI looks. What an earlier file sets, a later one does not change."""
    if given := environment.get(FILES):
        return [Path(path) for path in given.split(",")]
    home, own = environment.get("HOME", ""), environment.get("OPAL_PREFIX", "") or prefix
    found = [Path(home, ".openmpi", "mca-params.conf")] if home else []
    return [*found, Path(own, "etc", NAME)] if own else [*found, *sorted((root / "etc").glob(f"openmpi*/{NAME}"))]
