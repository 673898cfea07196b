"""TrackerCallback on every rank: rank 0 alone writes, what it writes are numbers over all ranks, and a second fit() goes on."""

from __future__ import annotations

import csv
import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest
from keras_training import ROWS, STEPS, batches, small_model
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

import hvd_train.keras as hvd
from hvd_train.runs import TrackerCallback

OWN = """
from hvd_train.runs import Tracker
class Fails(Tracker):
    def on_epoch_end(self, row, *, best):
        raise ConnectionError("the server is gone")
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """One directory for all ranks."""
    made = hvd.broadcast_object(tempfile.mkdtemp() if hvd.rank() == 0 else None, name="folder")
    yield Path(made)
    hvd.allreduce([0.0], name="done")
    if hvd.rank() == 0:
        shutil.rmtree(made)


def fitted(folder: Path, *names: str, first: int = 0, epochs: int = 2) -> dict[str, list[float]]:
    """The history of fit() on this rank's rows, after MetricAverageCallback."""
    x, y = batches()
    own = slice(hvd.rank() * ROWS, (hvd.rank() + 1) * ROWS)
    model = small_model()
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), "mse")
    callbacks = [
        TrackerCallback(*names, run_dir=folder / f"{hvd.rank()}", parameters={"rows": ROWS}),
        hvd.callbacks.MetricAverageCallback(),
        hvd.callbacks.BroadcastGlobalVariablesCallback(0),
    ]
    found = model.fit(
        x[:, own].reshape(-1, x.shape[-1]),
        y[:, own].reshape(-1, y.shape[-1]),
        batch_size=ROWS,
        shuffle=False,
        initial_epoch=first,
        epochs=epochs,
        verbose=0,
        callbacks=callbacks,
    )
    return dict(found.history)


def test_rank_0_writes_the_averages_of_all_ranks(folder: Path) -> None:
    history = fitted(folder, "tensorboard", "csv")
    more = fitted(folder, "tensorboard", "csv", first=2, epochs=3)
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("Tracker")]
    hvd.allreduce([0.0], name="written")
    assert [path.name for path in folder.iterdir()] == ["0"]
    losses = history["loss"] + more["loss"]
    if hvd.rank() == 0:
        rows = list(csv.DictReader((folder / "0" / "metrics.csv").read_text().splitlines()))
        assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
        assert [float(row["loss"]) for row in rows] == pytest.approx(losses)
        assert [float(row["learning_rate"]) for row in rows] == pytest.approx([0.1] * 3)
        read = EventAccumulator(str(folder / "0" / "tensorboard")).Reload()
        events = read.Tensors("loss")
        assert [event.step for event in events] == [1, 2, 3]
        assert [float(make_ndarray(event.tensor_proto)) for event in events] == pytest.approx(losses)
        settings = make_ndarray(read.Tensors("config/fit")[0].tensor_proto).item().decode()
        assert f"| steps | {STEPS} |" in settings


def test_a_tracker_that_fails_warns_once_and_fit_goes_on(folder: Path) -> None:
    if hvd.rank() == 0:
        (folder / "own.py").write_text(OWN)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = fitted(folder, f"{folder}/own.py:Fails", epochs=3)
    assert len(history["loss"]) == 3
    told = [str(one.message) for one in caught if "Fails" in str(one.message)]
    message = "Fails failed in on_epoch_end (ConnectionError: the server is gone). The run goes on without it."
    assert told == [message] * (hvd.rank() == 0)
