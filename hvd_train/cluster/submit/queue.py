"""Puts a job into the queue, and writes RUN/job: the script, job.toml and the id.

Files are made beside the runs before anything is submitted, so a full disk is met first. They become RUN/job when the
scheduler has given the id. A job that starts at once finds its RUN/job complete or not yet there, and needs it at its
end only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hvd_train.cluster.commands import ask
from hvd_train.cluster.submit.script import script_of
from hvd_train.cluster.submit.spec import JOB, JobSpec
from hvd_train.errors import HvdTrainError, MissingEnvironment, UserError
from hvd_train.files import write_text
from hvd_train.runs import RunDir
from hvd_train.schedulers import BatchScheduler, Kubernetes, scheduler_named


class NotRecorded(HvdTrainError):
    """The job was submitted, but RUN/job could not be written."""


@dataclass(frozen=True)
class Submission:
    """What is to be submitted: nothing is written or started yet."""

    spec: JobSpec
    scheduler: BatchScheduler
    script: str
    command: tuple[str, ...]
    staged: Path
    """Where the script is while it is submitted."""

    def id_from(self, output: str) -> str:
        """The id that the scheduler gave, from what the command printed. UserError."""
        given = self.scheduler.submitted_id(output)
        if isinstance(self.scheduler, Kubernetes) and self.spec.pods:  # kubectl does not print the namespace
            return self.scheduler.id_of(self.spec.resources, self.spec.pods)
        return given

    def __str__(self) -> str:
        redirected = f" < {shlex.quote(str(self.staged))}" if self.scheduler.submits_by_stdin else ""
        return shlex.join(self.command) + redirected


@dataclass(frozen=True)
class Submitted:
    """A job in the queue."""

    id: str
    runs: tuple[Path, ...]
    """The absolute directory of its run, or of the run of each task. On Kubernetes it is that in the pods."""
    logs: tuple[str, ...]
    """The absolute path of the log, or of each log. None on Kubernetes."""


def prepare(spec: JobSpec, *, after: str = "", exclude: Sequence[str] = ()) -> Submission:
    """The script and the command. Pure. The job waits until the job `after` has ended, and keeps off the hosts `exclude`."""
    scheduler = scheduler_named(spec.scheduler)
    script = script_of(spec, scheduler)
    # Named after the content: --dry-run prints the command that will be used.
    parent = Path(spec.working_directory) / Path(spec.run_dir).parent
    staged = parent / f".submit-{hashlib.sha256(script.encode()).hexdigest()[:8]}" / "script"
    program, *arguments = scheduler.submit_command(str(staged))
    options = [*(scheduler.after_option(after) if after else []), *scheduler.exclude_option(exclude)]
    return Submission(spec, scheduler, script, (program, *options, *arguments), staged)


def submit(submission: Submission) -> Submitted:
    """Submit it, and write RUN/job. UserError where the scheduler refuses: then nothing is left behind."""
    spec = submission.spec
    if spec.pods and shutil.which(submission.command[0]) is None:
        raise MissingEnvironment(
            "kubectl cannot be started: it is not on PATH. --dry-run prints the manifest, and `kubectl create -f -` takes it "
            "where there is one."
        )
    with _staged(submission):
        output = ask(
            submission.command,
            stdin=submission.staged if submission.scheduler.submits_by_stdin else None,
            cwd=Path(spec.working_directory),
        )
        job_id = submission.id_from(output)
    runs, logs = [], []
    try:
        for run_dir, again, own_id in runs_of(spec, submission.scheduler, job_id):
            # The pods of Kubernetes write no file here.
            log = "" if spec.pods else spec.log.replace(JOB, own_id)
            runs.append(Path("/", again.run_dir) if spec.pods else run_dir)
            logs += [log] if log else []
            record(run_dir, again, script=submission.script, job_id=own_id, log=log)
    except OSError as error:
        raise NotRecorded(
            f"{submission.scheduler.name} has the job as {job_id}, but {error.filename or spec.run_dir} cannot be written "
            f"({error.strerror or error}). hvd-train jobs will not find it."
        ) from None
    return Submitted(job_id, tuple(runs), tuple(logs))


def follow_up(run_dir: Path, job_id: str, *, exclude: Sequence[str] = ()) -> str:
    """Submit the job of this run again, held until the job `job_id` has ended. Returns the id of the new job.

    Raises UserError where the run has no job.toml or the scheduler refuses, and SchedulerSilent where it is slow.
    """
    spec = JobSpec.load(RunDir(run_dir).job.spec)
    return submit(prepare(spec, after=job_id, exclude=exclude)).id


def runs_of(spec: JobSpec, scheduler: BatchScheduler, job_id: str) -> Iterator[tuple[Path, JobSpec, str]]:
    """Each run of the job: its absolute directory, the job that would continue it, and the id of the job or of its task."""
    for task in range(len(spec.tasks)) if spec.tasks else [None]:
        own_id = job_id if task is None else f"{job_id}_{scheduler.first_task + task}"
        again = spec.continuing(own_id, task=task)
        yield Path(spec.working_directory) / again.run_dir, again, own_id


def record(run_dir: Path, spec: JobSpec, *, script: str, job_id: str, log: str) -> None:
    """Write RUN/job. The id comes last: who finds it finds the other files, too. OSError where it cannot be written."""
    job = RunDir(run_dir).job
    write_text(job.script, script)
    write_text(job.spec, spec.dumps())
    for path, line in ((job.logs, log), (job.ids, job_id)):
        if not line:
            continue
        earlier = path.read_text(encoding="utf-8") if path.exists() else ""
        write_text(path, f"{earlier}{line}\n")


@contextlib.contextmanager
def _staged(submission: Submission) -> Iterator[None]:
    """The script in its place while the block runs. Where it fails, directories that were made for it go with it.

    After a success they stay: the job may begin before RUN/job is written, and its log needs the directory.
    """
    folder = submission.staged.parent
    new = [path for path in folder.parents if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(submission.staged, submission.script)
        os.chmod(submission.staged, 0o755)
    except OSError as error:
        raise UserError(
            f"{folder.parent} cannot be written ({error.strerror or error}). Submit from a directory that can."
        ) from None
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        for path in new:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise
    shutil.rmtree(folder, ignore_errors=True)
