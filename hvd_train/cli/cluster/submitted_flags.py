"""The flags of a run that is submitted, taken by the parser of its verb. Its directory is fixed by the job, so it is taken out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hvd_train.cli.arguments import EnsembleArguments, EvaluateArguments, TrainArguments, TuneArguments
from hvd_train.cli.terminal import parse
from hvd_train.cli.train_verb import asks_for, over
from hvd_train.cli.verbs import over_recipe
from hvd_train.cli.which_run import AUTO, BASE, NEWEST, preliminary, with_newest_run
from hvd_train.cluster import JOB, ParsedRun, Verb
from hvd_train.config import RunConfig, toml
from hvd_train.distributed import Placement
from hvd_train.errors import UserError
from hvd_train.runs import RunDir, require_trackers


def parsed_run(verb: Verb, flags: Sequence[str], task: Sequence[str], placement: Placement) -> ParsedRun:
    """The run of these flags and those of one task. UserError or SystemExit where the verb would not take them."""
    twice = sorted(names(flags) & names(task))
    if twice:
        raise UserError(f"{twice[0]} is in the sweep and on the command line. Leave one out.")
    if directory := sorted(names(task) & {"--run-dir", "--resume", "--out"}):
        raise UserError(f"{directory[0]} has no place in a sweep: each task has a directory with the id of its own.")
    return {"train": _train, "ensemble": _ensemble, "evaluate": _evaluate, "tune": _tune}[verb](
        list(flags), tuple(task), placement
    )


def _train(flags: list[str], task: tuple[str, ...], placement: Placement) -> ParsedRun:
    argv = with_newest_run([*flags, *task])
    prog = "hvd-train train"
    for flag in ("--dry-run", "--print-config"):
        if asks_for(argv, flag):
            raise UserError(f"{flag} trains nothing, so it has no place in a job or under supervise: {prog} {flag} ...")
    given = parse(TrainArguments, preliminary(argv, (*BASE, "--run-dir")), placement, prog=prog)
    if given.resume == NEWEST:
        raise UserError("A job needs to know which run it resumes: name it, --resume RUN_DIR.")
    base, run_dir = given.base(), given.run_dir
    if given.resume is not None and given.resume != AUTO:
        run_dir = given.resume
        base = toml.load(RunDir(run_dir).config, base=base)
    config = over(base, argv, placement).run
    require_trackers(config.training.trackers)
    return ParsedRun(
        flags=tuple(without(flags, "--run-dir", "--resume")),
        task_flags=task,
        run_dir=str(run_dir or ""),
        name=given.recipe,
        config=config,
        paths=_tables(config),
    )


def _tables(config: RunConfig) -> tuple[tuple[str, Path], ...]:
    named = (("data", config.table.path), ("test data", config.table.test_path))
    return tuple((what, path) for what, path in named if path)


def _ensemble(flags: list[str], task: tuple[str, ...], placement: Placement) -> ParsedRun:
    placed = flags if "--run-dir" in names(flags) else [*flags, "--run-dir", f"runs/ensemble-{JOB}"]
    given = over_recipe(EnsembleArguments, [*placed, *task], placement, prog="hvd-train ensemble", run_dir=Path())
    return ParsedRun(
        flags=tuple(without(flags, "--run-dir")),
        task_flags=task,
        run_dir=str(given.run_dir) if placed is flags else "",
        name="ensemble",
        config=given.run,
        paths=(*_tables(given.run), *(("run", run) for run in given.runs)),
    )


def _tune(flags: list[str], task: tuple[str, ...], placement: Placement) -> ParsedRun:
    given = over_recipe(TuneArguments, [*flags, *task], placement, prog="hvd-train tune")
    return ParsedRun(
        flags=tuple(without(flags, "--out")),
        task_flags=task,
        run_dir=str(given.out) if "--out" in names(flags) else "",
        name="tune",
        config=given.run,
        paths=_tables(given.run),
    )


def _evaluate(flags: list[str], task: tuple[str, ...], placement: Placement) -> ParsedRun:
    given = parse(EvaluateArguments, [*flags, *task], placement, prog="hvd-train evaluate")
    if not RunDir(given.run_dir).model.exists():
        raise UserError(f"{given.run_dir} has no model.keras, so it is no finished run.")
    if given.data is not None and not given.data.exists():
        raise UserError(f"--data {given.data}: there is no such file or directory.")
    paths = [("run", given.run_dir), *([("data", given.data)] if given.data else [])]
    return ParsedRun(flags=tuple(flags), task_flags=task, name="evaluate", paths=tuple(paths))


def names(flags: Sequence[str]) -> set[str]:
    """The names of the flags, with dashes."""
    return {word.partition("=")[0].replace("_", "-") for word in flags if word.startswith("--")}


def without(flags: Sequence[str], *left_out: str) -> list[str]:
    """The flags without those of these names and without their values, of which each has one at most.

    >>> without(["--seed", "1", "--run-dir", "a", "--resume=b"], "--run-dir", "--resume")
    ['--seed', '1']
    """
    kept: list[str] = []
    skips_value = False
    for word in flags:
        is_flag = word.startswith("--")
        if is_flag and word.partition("=")[0].replace("_", "-") in left_out:
            skips_value = "=" not in word
        elif is_flag or not skips_value:
            kept.append(word)
            skips_value = False
        else:
            skips_value = False
    return kept
