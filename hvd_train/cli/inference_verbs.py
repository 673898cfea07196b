"""What `hvd-train evaluate` and `hvd-train predict` do: open the ranks, watch over them, and print the result."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack

from hvd_train.cli.arguments import EvaluateArguments, PredictArguments
from hvd_train.cli.terminal import tell, tell_beside
from hvd_train.distributed import Placement, end_rank
from hvd_train.text import is_formula, one_line


def evaluate(arguments: EvaluateArguments, placement: Placement) -> int:
    """Score a run's model on rows. All ranks; the root prints."""
    from hvd_train.distributed import open_world
    from hvd_train.runs import RunDir

    world = open_world(watchdog_s=arguments.watchdog.watchdog_s, lean=True)
    from hvd_train.cli.live_terminal import data_progress
    from hvd_train.cli.result_tables import print_evaluation
    from hvd_train.inference import evaluate_run
    from hvd_train.processes import Stopped
    from hvd_train.runs import guarded, how_stopped

    run_dir = RunDir(arguments.run_dir)
    try:
        with guarded(world, arguments.watchdog.limits(), hint=lambda: ""), ExitStack() as stack:
            progress = (
                stack.enter_context(data_progress(plain="scored", quiet=arguments.quiet)) if world.is_root else None
            )
            result = evaluate_run(
                run_dir,
                world,
                arguments.data,
                split=arguments.split,
                overrides=arguments.table.given(),
                own_metrics=arguments.metrics,
                progress=progress[1] if progress is not None else None,
            )
    except Stopped as stopped:
        return end_rank(placement, stopped.exit_code, f"{how_stopped(stopped, placement)}.")
    if world.is_root and arguments.json:
        tell(placement, json.dumps(result, indent=2))
    elif world.is_root:
        print_evaluation(result)
    world.close()
    return 0


def predict(arguments: PredictArguments, placement: Placement) -> int:
    """Write a prediction for each row of a table. All ranks; the root writes."""
    from hvd_train.distributed import open_world
    from hvd_train.runs import RunDir

    world = open_world(watchdog_s=arguments.watchdog.watchdog_s, lean=True)
    from hvd_train.cli.live_terminal import data_progress
    from hvd_train.inference import STANDARD_STREAM, load_trained, predict_table, spooled_input
    from hvd_train.processes import Stopped
    from hvd_train.runs import guarded, how_stopped

    into_pipe = arguments.out == STANDARD_STREAM
    # A file is put in its place at the end.
    untouched = "The predictions are not complete." if into_pipe else f"{arguments.out} was not written."
    # The standard output is for the predictions then.
    say: Callable[[Placement, str], object] = tell_beside if into_pipe else tell

    def note(text: str) -> None:
        if not arguments.quiet:
            say(placement, f"Note: {text}.")

    try:
        with guarded(world, arguments.watchdog.limits(), hint=lambda: untouched), ExitStack() as stack:
            trained = world.together(lambda: load_trained(RunDir(arguments.run_dir)))
            assert trained is not None
            data = arguments.data
            if data == STANDARD_STREAM:
                data = stack.enter_context(spooled_input(world))
            progress = (
                stack.enter_context(data_progress(plain="predicted", quiet=arguments.quiet)) if world.is_root else None
            )
            num_rows = predict_table(
                trained,
                world,
                data,
                arguments.out,
                overrides=arguments.table.given(),
                quote_formulas=arguments.quote_formulas,
                on_message=note,
                progress=progress[1] if progress is not None else None,
            )
    except Stopped as stopped:
        return end_rank(placement, stopped.exit_code, f"{how_stopped(stopped, placement)}. {untouched}")
    say(placement, f"{num_rows:,} rows predicted: {'standard output' if into_pipe else arguments.out}")
    risky = [value for value in trained.schema.label_values if is_formula(value)]
    if risky and not arguments.quote_formulas:
        say(
            placement,
            f"Take care: {len(risky)} class names, such as {one_line(str(risky[0]))}, look like formulas to a spreadsheet. "
            "They are written as they are; --quote-formulas puts an apostrophe before them.",
        )
    world.close()
    return 0
