"""Trackers: found by name or reference, refused with a message, and TensorBoard's files say what happened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hvd_train.errors import ConfigError
from hvd_train.events import Observers
from hvd_train.runs.trackers import Tracker, make_trackers, require_trackers
from hvd_train.runs.trackers.tensorboard import FOLDER, TensorBoardTracker

OWN = """
from hvd_train.runs import Tracker
class Own(Tracker):
    pass
class NeedsArguments(Tracker):
    def __init__(self, project): pass
function = print
"""


def test_built_in_trackers_and_a_users_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    names = ["tensorboard", f"{tmp_path}/own.py:Own"]
    require_trackers(names)
    built_in, own = make_trackers(names)
    assert isinstance(built_in, TensorBoardTracker)
    assert isinstance(own, Tracker)
    assert type(own).__name__ == "Own"
    assert built_in.is_optional
    assert own.is_optional


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tensorbord", r"trackers = 'tensorbord' is not possible: choose tensorboard, or name your own as"),
        ("own file:Own", r"a reference is written"),
        ("{path}/none.py:Own", r"there is no file"),
        ("{path}/own.py:Other", r"has no 'Other'. It defines: .*Own"),
        ("{path}/own.py:function", r"is no tracker but .*Derive a class from hvd_train.runs.Tracker"),
        (
            "{path}/own.py:NeedsArguments",
            r"NeedsArguments\(\) failed: TypeError: .*project.* is made without arguments",
        ),
    ],
)
def test_what_is_no_tracker_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(ConfigError, match=message):
        make_trackers([name.format(path=tmp_path)])


@pytest.fixture(autouse=True)
def without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tensorboard package reads and writes files by itself where it is told that there is no TensorFlow."""
    monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", ModuleType("notf"))


def events_of(folder: Path) -> list[tuple[str, int, Any]]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    events = []
    for file in sorted(folder.iterdir()):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                events.append((value.tag, event.step, make_ndarray(value.tensor)))
    return events


def test_tensorboard_has_the_config_each_epoch_and_the_final_figures(tmp_path: Path) -> None:
    tracker = TensorBoardTracker()
    tracker.on_start({"model": {"name": "mlp"}, "seed": 7}, {"ranks": "2 | on a"}, tmp_path)
    for epoch in (1, 2):
        tracker.on_epoch_end({"epoch": epoch, "loss": 3.0 / epoch, "val_loss": 4.0}, best=True)
    tracker.on_end(SimpleNamespace(metrics={"test": {"rmse": 9.5}}, best_epoch=2))
    tracker.close()
    tracker.close()
    events = events_of(tmp_path / FOLDER)
    texts = {tag: str(value) for tag, _, value in events if value.dtype == object}
    assert "mlp" in texts["config/model"]
    assert r"2 \| on a" in texts["facts"].replace("\\\\", "\\")
    assert "7" in texts["config/seed"]
    scalars = [(tag, step, float(value)) for tag, step, value in events if value.dtype == np.float32]
    assert scalars == [
        ("loss", 1, 3.0),
        ("val_loss", 1, 4.0),
        ("loss", 2, 1.5),
        ("val_loss", 2, 4.0),
        ("test/rmse", 2, 9.5),
    ]


def test_a_disk_that_is_full_costs_the_tracker_and_not_the_run(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file where the folder should be")
    messages: list[str] = []

    class Console(Tracker):
        def on_message(self, text: str) -> None:
            messages.append(text)

    observers = Observers([Console(), TensorBoardTracker()])
    observers.on_start({}, {"ranks": "1"}, tmp_path)
    observers.on_epoch_end({"epoch": 1, "loss": 1.0}, best=True)
    observers.close()
    assert len(messages) == 1
    assert messages[0].startswith("TensorBoardTracker failed in on_start (")
    assert "tensorflow" not in sys.modules


def test_trackers_are_checked_without_loading_tensorflow_or_tensorboard() -> None:
    program = "import sys; from hvd_train.runs.trackers import require_trackers; require_trackers(['tensorboard'])\n"
    program += "assert not {'tensorflow', 'tensorboard'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
