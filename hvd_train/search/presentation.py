"""What a search leaves: best.toml, trials.csv, pictures, and a table of the best trials. Root only."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from rich.table import Table

from hvd_train.bench import new_table
from hvd_train.config import RunConfig, toml
from hvd_train.evaluation import metric_named
from hvd_train.files import write_text
from hvd_train.search.picture import picture
from hvd_train.search.space import applied

if TYPE_CHECKING:
    from hvd_train.search.study import Study, Trial

SHOWN = 10
TRIALS, BEST, PICTURE = "trials.csv", "best.toml", "search.png"


def write_results(study: Study, config: RunConfig) -> list[Trial]:
    """Write what is known so far. Returns all trials."""
    trials = study.trials()
    names = list(study.space)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["trial", "state", config.training.monitor, "seconds", *names, "note"])
    for trial in trials:
        seconds = "" if trial.seconds is None else f"{trial.seconds:.1f}"
        drawn = [trial.values.get(name, "") for name in names]
        rows.writerow(
            [trial.number + 1, trial.state, "" if trial.value is None else trial.value, seconds, *drawn, trial.note]
        )
    write_text(study.folder / TRIALS, text.getvalue())
    if (best := study.best()) is not None:
        write_text(study.folder / BEST, toml.dumps(applied(config, best.values)))
    higher = metric_named(config.training.monitor.removeprefix("val_")).higher_is_better
    picture(trials, study.space, config.training.monitor, study.folder / PICTURE, higher_is_better=higher)
    return trials


def table(trials: list[Trial], monitor: str, *, higher_is_better: bool) -> Table:
    """The best complete trials, the best first."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    ranked = sorted(complete, key=lambda trial: trial.value or 0.0, reverse=higher_is_better)[:SHOWN]
    shown = new_table(f"Best trials of {len(trials)}", "trial", monitor, "seconds", "settings")
    shown.columns[-1].justify = "left"
    for trial in ranked:
        shown.add_row(str(trial.number + 1), f"{trial.value:.5g}", f"{trial.seconds:.0f}", settings_of(trial))
    return shown


def settings_of(trial: Trial) -> str:
    """What was drawn, in a line."""
    return ", ".join(f"{key.partition('.')[2]} {_shown(value)}" for key, value in trial.values.items())


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace(" ", "")
