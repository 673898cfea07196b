"""One call is the whole program: `train_and_evaluate(config, world, run_dir)`.

All ranks call it with equal arguments. Each function says which ranks take part; only the root writes files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hvd_train.config import RunConfig, is_reference, toml
from hvd_train.distributed import Agreement, World
from hvd_train.events import Notes, Observer, Observers, Watch
from hvd_train.files import write_text
from hvd_train.inference import deployed, save_model
from hvd_train.processes import GRACE_S, early_end
from hvd_train.runs import (
    HistoryFile,
    ProgressFile,
    Report,
    RunDir,
    Trackers,
    TrainingState,
    checkpoint,
    guarded,
    last_checkpoint_line,
    lock_run_dir,
    make_trackers,
    user_code,
    write_history,
    write_report,
)
from hvd_train.training.callbacks import part_callbacks
from hvd_train.training.early_end import NOTHING_TO_SAVE, EarlyEnding, end_before_training
from hvd_train.training.equal_weights import require_equal_weights
from hvd_train.training.experiment import Experiment
from hvd_train.training.facts import describe_run, idle_hosts_line
from hvd_train.training.final_evaluation import evaluate_final
from hvd_train.training.loop import TrainingLoop, fit
from hvd_train.training.precision.float32_copy import in_float32
from hvd_train.training.resume import starting_state
from hvd_train.training.run_report import make_report
from hvd_train.training.setup import set_up
from hvd_train.training.user_code.layer_states import average_layer_states
from hvd_train.training.user_code.own_code import references_of, use_kept_code
from hvd_train.training.user_code.saveable import check_saveable
from hvd_train.watchdog import Limits


def train_guarded(
    config: RunConfig,
    world: World,
    run_dir: RunDir,
    *,
    resume: bool = False,
    callbacks: Sequence[Any] = (),
    grace_s: float | None = GRACE_S,
    stop_after_s: float | None = None,
) -> Report:
    """`train_and_evaluate` under the watchdog, with an end in good order on signals and after `stop_after_s`. All ranks.

    Raises:
        ToBeContinued: after a warning signal or after `stop_after_s`. What was done is saved.
        Stopped: after a signal, see `hvd_train.runs.guarded`, also for `grace_s`. The last checkpoint is complete.
    """
    limits = Limits(watchdog_s=config.training.watchdog_s, stall_s=config.training.stall_s)

    def hint() -> str:
        return last_checkpoint_line(run_dir, on_root=world.is_root)

    with guarded(world, limits, hint=hint, grace_s=grace_s, saves=True) as watch:
        if stop_after_s is not None:
            early_end.stop_after(stop_after_s, from_now=True)
        return train_and_evaluate(config, world, run_dir, resume=resume, callbacks=callbacks, watch=watch)


def train_and_evaluate(
    config: RunConfig,
    world: World,
    run_dir: RunDir,
    *,
    resume: bool = False,
    callbacks: Sequence[Any] = (),
    watch: Watch | None = None,
) -> Report:
    """Train as `config` says, keep the best epoch, evaluate it, write everything to `run_dir`. All ranks.

    `callbacks` are Observers, which the root alone calls (the trackers of the config hear the same in threads), and Keras callbacks, which each rank calls with its own
    object (see `hvd_train.training.callbacks`). Returns the report on every rank.

    Raises:
        ToBeContinued: alike on every rank, after a warning that `early_end` has noted.
        UserError: alike on every rank, for what the user can correct. Also where another program writes to `run_dir`,
            or `run_dir` holds the results of a run and `resume` is false.
    """
    observers, keras_callbacks = part_callbacks(callbacks, world)
    # On the root alone: the other hosts may lack what a tracker imports.
    made: list[Observer] = []  # not a result, which would be sent to the other ranks
    world.together(lambda: made.extend(make_trackers(config.training.trackers)), on="root")
    watch, notes = watch or Watch(), Notes()
    # First, so that they close first: what they then tell is still shown.
    trackers = Trackers(made, notify=lambda text: observer.on_message(text))
    observer = Observers([trackers, *observers, notes, ProgressFile(watch.ranks)] if world.is_root else [])
    try:
        with lock_run_dir(run_dir, world, new=not resume, notify=observer.on_message):
            return _train_and_evaluate(config, world, run_dir, resume, observer, keras_callbacks, watch, notes)
    finally:
        observer.close()


def _train_and_evaluate(
    config: RunConfig,
    world: World,
    run_dir: RunDir,
    resume: bool,
    observer: Observer,
    keras_callbacks: list[Any],
    watch: Watch,
    notes: Notes,
) -> Report:
    started = time.monotonic()

    def end_if_warned() -> None:
        how = last_checkpoint_line(run_dir, on_root=world.is_root) if resume else NOTHING_TO_SAVE
        end_before_training(world, how)

    end_if_warned()
    for message in use_kept_code(config, run_dir, world) if resume else []:
        observer.on_message(message)
    experiment = set_up(config, world, observer, watch)
    end_if_warned()
    advice = world.together(lambda: advice_on_saving(experiment), on="root")
    if advice and world.is_root:
        observer.on_message(advice)
    state = starting_state(experiment, world, run_dir if resume else None)
    world.together(lambda: begin_writing(run_dir, experiment.config, state), on="root")
    placements = world.allgather(world.placement)
    facts = describe_run(experiment, world, placements)
    if world.is_root:
        if idle := idle_hosts_line(os.environ, placements):
            observer.on_message(idle)
        observer.on_start(asdict(experiment.config), facts, run_dir.path)
        if resume:
            observer.on_resume(list(state.history), step=state.step, best_epoch=state.best_epoch)
    began = started - state.wall_seconds  # as if no time had passed between the sessions
    loop = train(experiment, world, run_dir, state, observer, keras_callbacks, watch, began=began)
    watch.phase("the final evaluation", waits_for_others=True)
    model = best_model(experiment, world, run_dir)
    evaluations, temperature = evaluate_final(experiment, world, model)
    report = make_report(
        experiment,
        world,
        loop,
        facts,
        evaluations,
        temperature,
        began=began,
        started=started,
        run_dir=run_dir,
        notes=notes.texts,
    )

    def write() -> None:
        whole = deployed(model, experiment.head, experiment.metrics.spec, temperature)
        save_model(whole, experiment.metrics.spec, experiment.dataset, run_dir)
        write_report(report, run_dir)

    world.together(write, on="root")
    if world.is_root:
        observer.on_end(report)
    return report


def advice_on_saving(experiment: Experiment) -> str | None:
    """What opening the finished model will need, in words; None where Keras alone will do. Root only.

    Raises:
        ConfigError: the model cannot be saved as it computes. Better now than after the last epoch.
    """
    return check_saveable(
        experiment.model,
        whole=lambda copy: deployed(copy, experiment.head, experiment.metrics.spec, 1.0),
        is_of_the_user=is_reference(experiment.config.model.name),
    )


def begin_writing(run_dir: RunDir, config: RunConfig, state: TrainingState) -> None:
    """Make the run directory ready: without leftovers, with the config in use and the rows of `state`, not DONE. Root only."""
    run_dir.create()
    run_dir.sweep()
    write_text(run_dir.config, toml.dumps(config))
    run_dir.metrics.unlink(missing_ok=True)  # it may be an epoch ahead of the checkpoint of a run that was killed
    write_history(state.history, run_dir.metrics)
    user_code.keep(references_of(config), run_dir)
    run_dir.done.unlink(missing_ok=True)


def train(
    experiment: Experiment,
    world: World,
    run_dir: RunDir,
    state: TrainingState,
    observer: Observer,
    keras_callbacks: list[Any],
    watch: Watch,
    *,
    began: float,
) -> TrainingLoop:
    """Train from `state` to the last epoch, and write the checkpoints. All ranks. Returns the loop as it ended.

    `began`: when the run began by the monotonic clock, without the time between its sessions.
    """
    config, text = experiment.config, toml.dumps(experiment.config)
    watch.phase("the preparation of the rows", waits_for_others=False)
    validation = experiment.prepared(experiment.load("val", world))
    infer = experiment.infer(experiment.trained)
    history_file = HistoryFile(run_dir.metrics)

    def validate() -> dict[str, float]:
        average_layer_states(config, experiment.trained, world)
        return experiment.validate(world, infer, validation)

    def save(last: bool, best: bool) -> None:
        # The best first: a run that is killed between the two repeats the epoch. In the other order it would trust a
        # best epoch that is not there.
        paths = [run_dir.best] * best + [run_dir.last] * last
        if experiment.workers:
            experiment.workers.gather()
        else:
            world.gather_state(experiment.trained.optimizer)
        checksum = experiment.dataset.checksum
        loop.state.wall_seconds = time.monotonic() - began

        def write() -> None:
            writer.save(paths, experiment.variables, loop.state, config=text, data_checksum=checksum)
            history_file.write(loop.state.history)

        world.together(write, on="root")

    loop = TrainingLoop(
        world=world,
        training=config.training,
        state=state,
        num_steps=experiment.plan.num_steps,
        global_batch_size=experiment.batch_sizes.global_batch_size,
        validate=validate,
        save=save,
        average=experiment.average,
        observer=observer,
        watch=watch,
        steps_per_update=config.distributed.backward_passes_per_step,
        workers=experiment.workers,
        loss=experiment.loss,
        monitor=experiment.monitor,
        flush=lambda: world.together(writer.finish, on="root"),
    )
    early = EarlyEnding(loop, Agreement(world), lambda: last_checkpoint_line(run_dir, on_root=world.is_root))
    with checkpoint.Writer() as writer:
        fit(experiment, loop, keras_callbacks, early)
        world.together(writer.finish, on="root")
    return loop


def best_model(experiment: Experiment, world: World, run_dir: RunDir) -> Any:
    """The model of the best epoch, which reads plain rows and computes in float32. All ranks; the root reads.

    The saved model computes in float32 whatever it was trained in, so it is evaluated in float32, too.
    """
    require_equal_weights(world, experiment.model.weights)
    world.together(lambda: checkpoint.restore(checkpoint.load(run_dir.best), experiment.variables), on="root")
    world.broadcast_variables(experiment.model.weights)
    return in_float32(experiment.model)
