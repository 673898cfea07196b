"""JobSpec: everything that a batch job was asked for. RUN/job/job.toml holds it, so that the job can be submitted again.

spec = JobSpec.load(run_dir.job.spec)
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tomli_w

from hvd_train.errors import UserError
from hvd_train.files import strict
from hvd_train.runs import JOB_MARK
from hvd_train.schedulers import Pods, Resources

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FORMAT = 1
JOB = JOB_MARK
"""In the name of a run directory it stands for the id of the job."""
Verb = Literal["train", "ensemble", "evaluate", "tune"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task of a job array."""

    flags: tuple[str, ...] = ()
    """They come after those of the job."""
    run_dir: str = ""
    """Where it is empty, that of the job."""


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """A batch job of hvd_train, or an array of such jobs."""

    scheduler: str
    """The `flag` of its scheduler."""
    resources: Resources
    """Without its log file, which `log` names, and without the number of tasks."""
    working_directory: str
    """Absolute. Relative paths of the flags begin here."""
    programs: str
    """The absolute directory of the programs of this environment."""
    environment: dict[str, str]
    """What the script exports besides PATH."""
    run_dir: str
    """The directory of the run, perhaps with `JOB` in it. RUN/job is there also for verbs that write nothing else."""
    verb: Verb = "train"
    flags: tuple[str, ...] = ()
    """Of the verb, without the run directory."""
    supervise: tuple[str, ...] = ()
    """Flags of `hvd-train supervise`."""
    setup: tuple[str, ...] = ()
    """Lines of the script before hvd_train starts, such as: module load gcc."""
    tasks: tuple[Task, ...] = ()
    """The tasks of an array in their order. Empty for a plain job."""
    pods: Pods | None = None
    """On Kubernetes alone."""

    @classmethod
    def load(cls, path: Path) -> JobSpec:
        """From a job.toml, or UserError."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(
                f"{path}: there is no such file, so this run was not submitted with hvd-train submit."
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: it cannot be read ({error}).") from None
        return cls.loads(text, source=path)

    @classmethod
    def loads(cls, text: str, *, source: Path) -> JobSpec:
        try:
            document = tomllib.loads(text)
            version = strict.read(int, document.pop("format"), "format")
            spec = strict.read(cls, document, "job") if version == FORMAT else None
        except Exception as error:
            raise UserError(strict.damage(source, error, "Submit the run again with hvd-train submit.")) from None
        if spec is None:
            raise UserError(f"{source}: written in format {version}, this version reads format {FORMAT}.")
        return spec  # type: ignore[no-any-return]

    def dumps(self) -> str:
        """TOML that `loads` reads back as an equal spec."""
        return tomli_w.dumps({"format": FORMAT, **_plain(self)})

    @property
    def num_ranks(self) -> int:
        return self.resources.num_hosts * self.resources.ranks_per_host

    @property
    def log(self) -> str:
        """The absolute path of the file for the output, with `JOB` in it: next to the run directory, which the job makes."""
        shared = not any(task.run_dir for task in self.tasks)
        stem = self.run_dir if shared else f"runs/{self.resources.name}-{JOB}"
        return str(Path(self.working_directory) / (stem if JOB in stem else f"{stem}-{JOB}")) + ".log"

    def continuing(self, job_id: str, *, task: int | None = None) -> JobSpec:
        """The plain job that goes on with the run of that job, or of its task with this index, counted from 0."""
        chosen = Task() if task is None else self.tasks[task]
        return dataclasses.replace(
            self,
            resources=dataclasses.replace(self.resources, max_parallel=None, after=""),
            run_dir=(chosen.run_dir or self.run_dir).replace(JOB, job_id),
            flags=(*self.flags, *chosen.flags),
            tasks=(),
        )


def _plain(value: Any) -> dict[str, Any]:
    """Fields by their names; None is left out, since TOML has none."""
    return {key: item for key, item in _without_none(dataclasses.asdict(value)).items() if item != ()}


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list | tuple) else value
