"""hvd_train.evaluate, predict and load: what a finished run is good for, from Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hvd_train.api.tables import table_of
from hvd_train.api.world import open_world
from hvd_train.config import Split, TableConfig
from hvd_train.distributed import World
from hvd_train.errors import ConfigError
from hvd_train.runs import RunDir, guarded
from hvd_train.watchdog import Limits

if TYPE_CHECKING:
    import pandas as pd

    from hvd_train.inference import Trained


def evaluate(
    run_dir: str | Path,
    data: Any = None,
    *,
    labels: Any = None,
    split: Split = "test",
    world: World | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """Score the best model of a run, exactly and over all ranks. All ranks.

        scores = hvd_train.evaluate("runs/songs", "new-songs.csv")
        scores["metrics"]["mae"], scores["baselines"]["mae"]

    Args:
        run_dir: a finished run.
        data: a table with the columns that the run was trained on, as for `train`. By default the run's own data.
        labels: (N,) or (N, K), where they are not a column of `data`.
        split: the split of the run's own data, or of a dataset directory. A table is scored whole.
        world: the ranks; by default those of this process.
        overrides: how the table is read where it is not written as the run's own was, such as `delimiter=";"`.

    Returns:
        "rows", and by name "metrics", "baselines" (the best constant prediction), "optimum" (where it is known),
        "details" and "verdict". The same on every rank.

    Raises:
        UserError: alike on every rank, where the run is not finished or the table does not fit.
    """
    world = world or open_world()
    from hvd_train.inference import evaluate_run

    path = table_of(data, labels, table=TableConfig(), world=world).path
    with guarded(world, Limits(), hint=lambda: ""):
        return evaluate_run(RunDir(Path(run_dir)), world, path, split=split, overrides=overrides)


def predict(run_dir: str | Path, data: Any, *, world: World | None = None, **overrides: Any) -> pd.DataFrame:
    """Predict each row of a table by the best model of a run. All ranks; each gets all predictions.

    Args:
        run_dir: a finished run.
        data: a table with the columns that the run was trained on; its label may be missing.
        world: the ranks; by default those of this process.
        overrides: how the table is read where it is not written as the run's own was.

    Returns:
        A row for each row of the table, in its order. For years and integers the columns are expected, median,
        most_likely, probability, low_90 and high_90 (the 90 % interval); for classes most_likely and probability; for
        real values predicted, and `deviation` where the loss is gaussian.

    Raises:
        UserError: alike on every rank, where the run is not finished or a column is missing.
    """
    world = world or open_world()
    import pandas as pd

    from hvd_train.inference import load_trained, predict_columns

    path = table_of(data, None, table=TableConfig(), world=world).path
    if path is None:
        raise ConfigError("data = None is not possible: name a table whose rows are to be predicted.")
    with guarded(world, Limits(), hint=lambda: ""):
        trained = world.together(lambda: load_trained(RunDir(Path(run_dir))))
        assert trained is not None
        return pd.DataFrame(predict_columns(trained, world, path, overrides=overrides))


def load(run_dir: str | Path) -> Trained:
    """A finished run: `model` (Keras, plain rows (N, F) in, raw outputs out), `schema`, and how its table was read.

    Every rank for itself. `keras.models.load_model(run_dir / "model.keras")` needs no hvd_train and decodes the outputs.
    Raises CheckpointError where the run is not finished.
    """
    open_world()
    from hvd_train.inference import load_trained

    return load_trained(RunDir(Path(run_dir)))
