"""What `hvd-train submit` does: read the flags of the job and of the run, check both, and put the job into the queue.

The run's flags are parsed by the parser of its verb, so a job is refused here for what it would be refused for after a
night in the queue. TensorFlow is not loaded.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from hvd_train.cli.bench_verbs import refuse_under_a_launcher
from hvd_train.cli.terminal import parse, tell
from hvd_train.cluster import ParsedRun, Ready, Settings, Submitted, Verb, of_site, prepare_job, read_sweep, site_files
from hvd_train.distributed import Placement
from hvd_train.errors import UserError
from hvd_train.text import printable

PROG = "hvd-train submit"
VERBS: tuple[Verb, ...] = get_args(Verb)
# Their values may begin with a dash, so each occurrence is joined with its value before tyro sees it.
WITH_ANY_VALUE = ("--setup", "--directive", "--skip-directive")


@dataclass(frozen=True, kw_only=True)
class SubmitArguments(Settings):
    """Submit a run to Slurm, PBS, Grid Engine, LSF or Kubernetes. After -- comes what it runs: train, ensemble, evaluate or tune.

    The job looks after itself: it restarts what failed, saves a checkpoint before its time limit, and is continued.
    Everything is checked before it is submitted. Defaults of a site are in ~/.config/hvd_train/site.toml or ./site.toml.

    Examples:

        hvd-train submit --nodes 2 --ranks-per-node 4 --time 2:00:00 -- train --data /data/songs.csv

        hvd-train submit --dry-run --ranks-per-node 4 -- train --recipe leaves --data leaf.csv

        hvd-train submit --array sweep.toml --max-parallel 4 -- train --data songs.csv

        hvd-train submit --directive --constraint=a100 --setup "module load gcc" -- train
    """

    array: Path | None = None
    """A sweep.toml: submit a job array with a task for each set of flags in it."""
    dry_run: bool = False
    """Print the script and the command that would be used. Write and submit nothing."""


def submit(argv: Sequence[str], placement: Placement) -> int:
    """Check and submit. Returns the exit code."""
    refuse_under_a_launcher(placement, "submit")
    own, command = split(argv)
    defaults = of_site(*site_files())
    arguments = parse(
        SubmitArguments,
        joined(own),
        placement,
        prog=PROG,
        default=SubmitArguments(**{f.name: getattr(defaults, f.name) for f in dataclasses.fields(defaults)}),
    )
    if not command or command[0] not in VERBS:
        given = f"{command[0]!r} came there" if command else "nothing came there"
        raise UserError(
            f"After -- {PROG} takes what the job runs, one of {', '.join(VERBS)}, but {given}. "
            f"For example: {PROG} --nodes 2 -- train --data songs.csv"
        )
    ready = prepared(arguments, command[0], list(command[1:]), placement)
    for warning in ready.warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)
    if arguments.dry_run:
        return tell(placement, f"{ready.document}\n# {ready.command}")
    submitted = ready.submit()
    return tell(placement, report(submitted, ready.summary))


def prepared(arguments: SubmitArguments, verb: Verb, flags: list[str], placement: Placement) -> Ready:
    """The job, checked. UserError or SystemExit where it would fail."""
    from hvd_train.cli.cluster.submitted_flags import parsed_run

    sweep = read_sweep(arguments.array) if arguments.array else [()]
    runs: list[ParsedRun] = []
    for number, task in enumerate(sweep):
        try:
            runs.append(parsed_run(verb, flags, task, placement))
        except (UserError, SystemExit) as error:
            if not arguments.array:
                raise
            where = f"task {number + 1} of {arguments.array} ({' '.join(task)})"
            raise UserError(f"{where} cannot run{f': {error}' if isinstance(error, UserError) else ''}") from None
    return prepare_job(arguments, verb, runs, is_array=arguments.array is not None)


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The flags before the first --, and what comes after it."""
    argv = list(argv)
    at = argv.index("--") if "--" in argv else len(argv)
    return argv[:at], argv[at + 1 :]


def joined(argv: Sequence[str]) -> list[str]:
    """--directive --x becomes --directive=--x.

    >>> joined(["--nodes", "2", "--directive", "--constraint=a100"])
    ['--nodes', '2', '--directive=--constraint=a100']
    """
    words, rest = [], iter(argv)
    for word in rest:
        if word.replace("_", "-") in WITH_ANY_VALUE:
            value = next(rest, None)
            words.append(word if value is None else f"{word}={value}")
        else:
            words.append(word)
    return words


def report(submitted: Submitted, summary: str) -> str:
    """What was submitted, where it writes, and how to go on."""
    runs, logs = ([near(path) for path in paths] for paths in (submitted.runs, submitted.logs))
    more = f" ... {runs[-1]}" if len(runs) > 1 else ""
    more_logs = f" ... {logs[-1]}" if len(logs) > 1 else ""
    return (
        f"{summary} was submitted as job {submitted.id}.\n"
        f"run     {runs[0]}{more}\n"
        f"{f'log     {logs[0]}{more_logs}' if logs else 'log     is kept by Kubernetes'}\n"
        f"status  hvd-train jobs status {submitted.id}\n"
        f"logs    hvd-train jobs logs {submitted.id} -f\n"
        f"cancel  hvd-train jobs cancel {submitted.id}"
    )


def near(path: str | Path) -> str:
    """Relative to the working directory where it is below."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
