"""What a job asks for, as flags of `hvd-train submit`. Their defaults at a site are in site.toml.

Read are ~/.config/hvd_train/site.toml and then site.toml in the working directory. A flag takes precedence over both.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro.conf

from hvd_train.config import toml
from hvd_train.errors import ConfigError, UserError
from hvd_train.text import seconds_of as text_seconds_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SITE = "site.toml"
Lines = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Each may stand in site.toml, with _ for -."""

    on: Literal["auto", "slurm", "pbs", "sge", "lsf", "kubernetes"] = "auto"
    """The scheduler. auto is the one whose commands are found here."""
    nodes: int = 1
    """Number of machines."""
    ranks_per_node: int = 1
    """Ranks on each of them."""
    cpus_per_rank: int = 1
    """CPU cores of each rank."""
    mem_per_rank: str = ""
    """Memory of each rank, such as 4G or 500M. By default the site decides."""
    time: str = "1:00:00"
    """Time limit of a job, H:MM:SS. A run that needs more is saved and continued, see --max-requeues."""
    queue: str = ""
    """Queue or partition. By default the site decides."""
    account: str = ""
    """Account or project that pays."""
    name: str = ""
    """Name of the job, and of its run directory runs/NAME-ID. By default that of the recipe or of the verb."""
    exclusive: bool = False
    """Ask for whole machines, which no other job shares."""
    max_parallel: int | None = None
    """Most tasks of an array that run at once."""
    after: str = ""
    """Wait until this job has ended."""
    warn: int = 120
    """Seconds before the time limit at which the run saves a checkpoint and ends, to be continued."""
    max_requeues: int = 20
    """How often the run may be continued after a time limit. 0 ends it there."""
    max_restarts: int = 3
    """Restarts inside the job, from the last checkpoint, after a rank or a machine has failed."""
    launcher: Literal["mpirun", "srun", "horovodrun"] = "mpirun"
    """What starts the ranks inside the job."""
    setup: Lines = ()
    """A line of the script before hvd_train starts, such as "module load gcc". May be given several times. Those of site.toml come first."""
    directive: Lines = ()
    """A further directive, such as --constraint=a100, without #SBATCH or the like. May be given several times."""
    skip_directive: Lines = ()
    """Leave out each directive that contains this word, for a site that refuses it. May be given several times."""
    pe: str = ""
    """Parallel environment of Grid Engine. `qconf -spl` lists those of the site."""
    mail: str = ""
    """Address that the scheduler writes to when the job ends."""
    image: str = ""
    """Kubernetes: the image with hvd_train."""
    namespace: str = ""
    """Kubernetes: the namespace."""
    pvc: str = ""
    """Kubernetes: the claim of the volume for the run directories."""


def site_files(environment: Mapping[str, str] | None = None) -> tuple[Path, Path]:
    """Where site.toml may be. The second takes precedence."""
    environment = os.environ if environment is None else environment
    config = environment.get("XDG_CONFIG_HOME", "")
    home = Path(config) if config.startswith("/") else Path.home() / ".config"
    return home / "hvd_train" / SITE, Path(SITE)


def of_site(*files: Path) -> Settings:
    """The settings of these files, each over the one before. Files that are not there are passed over. Raises ConfigError."""
    settings = Settings()
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: it cannot be read ({error}).") from None
        try:
            document = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ConfigError(f"{path}: this is not TOML: {error}.") from None
        settings = toml.over(settings, document, source=str(path))
    return settings


def seconds_of(text: str, *, flag: str) -> int:
    """Of H:MM:SS or D-HH:MM:SS, or UserError.

    >>> seconds_of("1:30:00", flag="--time"), seconds_of("1-00:00:00", flag="--time")
    (5400, 86400)
    """
    seconds = text_seconds_of(text)
    # Slurm reads 2:00 as two minutes, LSF as two hours.
    if seconds is None or text.count(":") != 2:
        raise UserError(f"{flag} {text}: a time is written H:MM:SS, such as 2:00:00.")
    return seconds


def megabytes_of(text: str, *, flag: str) -> int | None:
    """Of 4G, 500M or 1.5GB, or UserError; None of an empty text.

    >>> megabytes_of("1.5G", flag="--mem-per-rank")
    1536
    """
    if not text:
        return None
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?) ?([MGT])(?:i?B)?", text.strip(), re.ASCII | re.IGNORECASE)
    size = int(float(found[1]) * 1024 ** "MGT".index(found[2].upper())) if found else 0
    if size < 1:
        raise UserError(f"{flag} {text}: a size is a number with M, G or T, such as 4G.")
    return size
