"""hvd-train: one verb, one function. Turns errors into exit codes; the work is done elsewhere.

Imports of the verbs stand inside them, so that `--help` answers without TensorFlow.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from hvd_train import __version__
from hvd_train.cli.terminal import chosen, parse, tell, usage_of
from hvd_train.distributed import Placement, detect_placement, end_continued, end_rank, ending_of
from hvd_train.text import take_any_text


def train(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli.train_verb import train

    return train(argv, placement)


def ensemble(argv: Sequence[str], placement: Placement) -> int:
    import tyro

    from hvd_train.cli.arguments import EnsembleArguments

    arguments = over_recipe(EnsembleArguments, argv, placement, prog="hvd-train ensemble", run_dir=tyro.MISSING)

    from hvd_train.distributed import open_world

    training = arguments.run.training
    world = open_world(arguments.run.distributed, watchdog_s=training.watchdog_s, lean=True)

    from hvd_train.cli.console import ConsoleObserver
    from hvd_train.cli.result_tables import print_evaluation
    from hvd_train.errors import ToBeContinued
    from hvd_train.events import Observer
    from hvd_train.processes import ALONE_GRACE_S, GRACE_S, Stopped
    from hvd_train.runs import RunDir, guarded, how_stopped, named_after_job
    from hvd_train.schedulers import detect_job
    from hvd_train.training import HOW_TO_GO_ON, join_runs, train_members
    from hvd_train.watchdog import Limits

    limits = Limits(watchdog_s=training.watchdog_s, stall_s=training.stall_s)

    def observe(member: RunDir) -> Observer:
        return ConsoleObserver(member, quiet=arguments.quiet, shows_result=False) if world.is_root else Observer()

    try:
        grace_s = GRACE_S if placement.launcher else ALONE_GRACE_S
        with guarded(world, limits, hint=lambda: HOW_TO_GO_ON, grace_s=grace_s, saves=True) as watch:
            named = world.together(lambda: named_after_job(arguments.run_dir, detect_job(os.environ)), on="root")
            assert named is not None
            run_dir = RunDir(named)
            members = [RunDir(run) for run in arguments.runs]
            if not members:
                members = train_members(arguments.run, world, run_dir, arguments.members, observe=observe, watch=watch)
            watch.phase("the joining of the runs", waits_for_others=False)
            result = join_runs(members, world, run_dir)
    except ToBeContinued as error:
        return end_continued(placement, ToBeContinued(error.what, HOW_TO_GO_ON), world.close)
    except Stopped as stopped:
        return end_rank(placement, stopped.exit_code, f"{how_stopped(stopped, placement)}. {HOW_TO_GO_ON}")
    if world.is_root:
        print_evaluation(result)
        tell(placement, f"Written to {run_dir.path}: report.html, report.json, model.keras")
    world.close()
    return 0


def search(argv: Sequence[str], placement: Placement) -> int:
    import tyro

    from hvd_train.cli.arguments import SearchArguments
    from hvd_train.cli.search_verb import search

    arguments = over_recipe(SearchArguments, argv, placement, prog="hvd-train search", out=tyro.MISSING)
    return search(arguments, placement)


def evaluate(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli import inference_verbs
    from hvd_train.cli.arguments import EvaluateArguments

    return inference_verbs.evaluate(parse(EvaluateArguments, argv, placement, prog="hvd-train evaluate"), placement)


def predict(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli import inference_verbs
    from hvd_train.cli.arguments import PredictArguments

    return inference_verbs.predict(parse(PredictArguments, argv, placement, prog="hvd-train predict"), placement)


def over_recipe(kind: Any, argv: Sequence[str], placement: Placement, *, prog: str, **required: Any) -> Any:
    """Arguments whose `run` starts from their --recipe and --config. `required` are flags without a default."""
    from hvd_train.cli.arguments import RecipeArguments
    from hvd_train.cli.which_run import preliminary

    base = parse(RecipeArguments, preliminary(argv, ("--recipe", "--config")), placement, prog=prog).base()
    return parse(kind, argv, placement, prog=prog, default=kind(run=base, **required))


def bench(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli import bench_verbs
    from hvd_train.cli.arguments import BenchArguments
    from hvd_train.cli.live_terminal import plain_or_live

    arguments = over_recipe(BenchArguments, argv, placement, prog="hvd-train bench")
    return bench_verbs.bench(arguments, placement, plain_or_live())


def tune(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli import bench_verbs
    from hvd_train.cli.arguments import TuneArguments
    from hvd_train.cli.live_terminal import plain_or_live

    arguments = over_recipe(TuneArguments, argv, placement, prog="hvd-train tune")
    return bench_verbs.tune(arguments, placement, plain_or_live())


def export(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli.runs.export_verb import export

    return export(argv, placement)


def submit(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli.cluster.submit_verb import submit

    return submit(argv, placement)


def jobs(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli.cluster.jobs_verb import run_jobs

    return run_jobs(argv, placement)


def runs(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli.runs.runs_verb import runs

    return runs(argv, placement)


def watch(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli.runs.watch_verb import watch

    return watch(argv, placement)


def report(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli.runs.report_verb import report

    return report(argv, placement)


def data(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli import data_verbs
    from hvd_train.cli.live_terminal import data_progress

    verbs: dict[str, tuple[str, Any, Any]] = {
        "fetch": ("download YearPredictionMSD and compare its checksums", data_verbs.FetchArguments, data_verbs.fetch),
        "convert": ("make a dataset directory from a table", data_verbs.ConvertArguments, data_verbs.convert),
        "check": ("compare a dataset directory with its checksums", data_verbs.CheckArguments, data_verbs.check),
        "describe": ("rows, labels, features and baselines of data", data_verbs.DescribeArguments, data_verbs.describe),
    }
    name, rest = chosen("data", {verb: summary for verb, (summary, *_) in verbs.items()}, argv, placement)
    _, kind, action = verbs[name]
    arguments = parse(kind, rest, placement, prog=f"hvd-train data {name}")
    if name == "check":
        outcome = action(arguments)
    else:
        with data_progress(quiet=getattr(arguments, "quiet", False)) as (report, progress):
            outcome = action(arguments, report=report, progress=progress)
    return tell(placement, outcome.text, code=outcome.exit_code)


def hostfile(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli import hostfile_verbs

    return hostfile_verbs.hostfile(argv, placement)


def horovod(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli.environment.horovod_verbs import horovod

    return horovod(argv, placement)


def completion(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli.shell.completion import completion

    return completion(argv, placement, {verb: summary for verb, (summary, _) in VERBS.items()})


def supervise(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli.supervise_verb import supervise

    return supervise(argv, placement)


def launch(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli.cluster.launch_verb import launch

    return launch(argv, placement)


def doctor(argv: Sequence[str], placement: Placement) -> int:
    from hvd_train.cli.arguments import DoctorArguments
    from hvd_train.doctor import diagnose

    arguments = parse(DoctorArguments, argv, placement, prog="hvd-train doctor")
    found = diagnose(trial=arguments.trial)
    return tell(placement, found.text, code=found.exit_code)


VERBS: dict[str, tuple[str, Callable[[Sequence[str], Placement], int]]] = {
    "train": ("train a model, alone or on all the ranks that a launcher started", train),
    "launch": ("start a training on several ranks without MPI", launch),
    "supervise": ("start a training, and start it again where that can help", supervise),
    "ensemble": ("train several models by seeds, or join runs, and average their predictions", ensemble),
    "search": ("search hyper-parameters: draw settings, and train each on all ranks", search),
    "evaluate": ("score the model of a run, and compare it with trivial baselines", evaluate),
    "predict": ("predict every row of a table", predict),
    "export": ("write the model of a run for TensorFlow Serving, ONNX Runtime or LiteRT", export),
    "runs": ("list runs: state, epoch, figures, time", runs),
    "watch": ("follow a run from another terminal", watch),
    "report": ("write the page of a run again, or compare several runs on one", report),
    "submit": ("put a run into the queue of Slurm, PBS, Grid Engine, LSF or Kubernetes", submit),
    "jobs": ("list, follow, cancel and resume what was submitted", jobs),
    "data": ("fetch, convert, check and describe tables", data),
    "bench": ("measure how fast a recipe trains here, and where the time goes", bench),
    "tune": ("search the best distributed settings for a recipe here", tune),
    "doctor": ("report what is wrong with this machine or cluster", doctor),
    "horovod": ("build Horovod for this environment and install it, or report what is there", horovod),
    "hostfile": ("check a hostfile, write it for another launcher, or print that of a batch job", hostfile),
    "completion": ("print a script that completes verbs and flags in bash, zsh or fish", completion),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the `hvd-train` command; returns or ends with the exit code."""
    take_any_text()
    argv = list(sys.argv[1:] if argv is None else argv)
    placement = detect_placement(os.environ)
    if not argv or argv[0] in ("-h", "--help"):
        return tell(placement, usage(), code=0 if argv else 2)
    if argv[0] == "--version":
        return tell(placement, __version__)
    if argv[0] not in VERBS:
        return end_rank(
            placement, 2, f"error: {argv[0]!r} is not something hvd-train does. It does: {', '.join(VERBS)}."
        )
    try:
        return VERBS[argv[0]][1](argv[1:], placement)
    except BrokenPipeError:  # whoever read our output has seen enough
        os._exit(141)
    except BaseException as error:
        ending = ending_of(error, placement)
        return end_rank(placement, ending.code, ending.message, everywhere=ending.everywhere)


def usage() -> str:
    """What `hvd-train --help` says."""
    return (
        "Train 1-D convolutional networks on tables of numbers with Horovod, Open MPI and Keras 3.\n\n"
        + usage_of("", {name: summary for name, (summary, _) in VERBS.items()})
        + "\n\nOn several ranks: horovodrun -np 4 -H host1:2,host2:2 hvd-train train [OPTIONS]"
    )


if __name__ == "__main__":
    sys.exit(main())
