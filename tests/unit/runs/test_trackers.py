"""Trackers: found by name or reference, refused with a message, and TensorBoard's files say what happened."""

from __future__ import annotations

import base64
import importlib.util
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hvd_train.errors import ConfigError
from hvd_train.events import Observers
from hvd_train.runs.trackers import Tracker, make_trackers, require_trackers
from hvd_train.runs.trackers.places import recall, remember
from hvd_train.runs.trackers.tensorboard import FOLDER, TensorBoardTracker
from hvd_train.runs.trackers.wandb import WandbTracker

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
        (
            "tensorbord",
            r"trackers = 'tensorbord' is not possible: choose tensorboard, mlflow, wandb, csv or none, or name",
        ),
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
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)  # another test of this process may have loaded it


def events_of(folder: Path) -> list[tuple[str, int, Any]]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    events = []
    for file in sorted(folder.iterdir()):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                events.append((value.tag, event.step, make_ndarray(value.tensor)))
    return events


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
CONFIG = {"model": {"name": "mlp", "widths": (8, 4)}, "seed": 7}


def epochs(tracker: Tracker, numbers: Sequence[int]) -> None:
    """Epochs of ten steps, of which the fifth and the last are reported."""
    for epoch in numbers:
        tracker.on_epoch_begin(epoch, 2, 10)
        tracker.on_steps(5, 10, math.nan, 6.0 / epoch)
        tracker.on_learning_rate(5, 0.5)
        tracker.on_steps(10, 10, 100.0, 5.0 / epoch)
        tracker.on_epoch_end({"epoch": epoch, "loss": 3.0 / epoch, "val_loss": 4.0}, best=True)


def test_tensorboard_has_the_config_steps_epochs_pictures_and_the_final_figures(tmp_path: Path) -> None:
    tracker = TensorBoardTracker()
    tracker.on_start(CONFIG, {"ranks": "2 | on a"}, tmp_path)
    epochs(tracker, (1, 2))
    (tmp_path / "learning-curve.png").write_bytes(PNG)
    tracker.on_end(SimpleNamespace(metrics={"test": {"rmse": 9.5}}, best_epoch=2, epochs=2))
    tracker.close()
    tracker.close()
    events = events_of(tmp_path / FOLDER)
    assert len([tag for tag, _, _ in events if tag == "learning-curve"]) == 1
    texts = {tag: str(value) for tag, _, value in events if value.dtype == object}
    assert "mlp" in texts["config/model"]
    assert r"2 \| on a" in texts["facts"].replace("\\\\", "\\")
    assert "7" in texts["config/seed"]
    scalars = [
        (tag, step, float(value)) for tag, step, value in events if value.dtype == np.float32 and not value.shape
    ]
    assert scalars == [
        ("by_step/loss_on_rank_0", 5, 6.0),
        ("by_step/learning_rate", 5, 0.5),
        ("by_step/loss_on_rank_0", 10, 5.0),
        ("by_step/samples_per_s", 10, 100.0),
        ("loss", 1, 3.0),
        ("val_loss", 1, 4.0),
        ("by_step/loss_on_rank_0", 15, 3.0),
        ("by_step/learning_rate", 15, 0.5),
        ("by_step/loss_on_rank_0", 20, 2.5),
        ("by_step/samples_per_s", 20, 100.0),
        ("loss", 2, 1.5),
        ("val_loss", 2, 4.0),
        ("test/rmse", 2, 9.5),
    ]


def test_tensorboards_own_reader_sees_one_run_without_the_steps_that_were_done_twice(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from tensorboard.util.tensor_util import make_ndarray

    killed, resumed = TensorBoardTracker(), TensorBoardTracker()
    killed.on_start(CONFIG, {}, tmp_path)
    epochs(killed, (1,))
    killed.on_epoch_begin(2, 2, 10)
    killed.on_steps(5, 10, math.nan, 77.0)
    killed.on_steps(9, 10, math.nan, 78.0)
    killed.close()
    resumed.on_start(CONFIG, {}, tmp_path)
    epochs(resumed, (2,))
    (tmp_path / "learning-curve.png").write_bytes(PNG)
    resumed.on_end(SimpleNamespace(metrics={}, best_epoch=2, epochs=2))
    resumed.close()
    # Two starts within a second have names whose order is that of their numbers.
    read = EventAccumulator(str(tmp_path / FOLDER), tensor_size_guidance={"scalars": 0}).Reload()
    by_step = [
        (event.step, float(make_ndarray(event.tensor_proto))) for event in read.Tensors("by_step/loss_on_rank_0")
    ]
    assert by_step == [(5, 6.0), (10, 5.0), (15, 3.0), (20, 2.5)]
    assert [event.step for event in read.Tensors("loss")] == [1, 2]
    (picture,) = make_ndarray(read.Tensors("learning-curve")[0].tensor_proto)[2:]
    assert picture == PNG
    assert read.SummaryMetadata("learning-curve").plugin_data.plugin_name == "images"
    content = read.SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content
    session = HParamsPluginData.FromString(content).session_start_info
    assert session.group_name == tmp_path.name
    assert session.hparams["seed"].number_value == 7
    assert session.hparams["model.widths"].string_value == "8, 4"


def test_csv_has_a_line_for_each_step_that_was_reported_and_goes_on_after_a_resume(tmp_path: Path) -> None:
    for epoch in (1, 2):
        (tracker,) = make_trackers(["csv"])
        tracker.on_start(CONFIG, {}, tmp_path)
        epochs(tracker, (epoch,))  # type: ignore[arg-type]
        tracker.close()
    assert (tmp_path / "steps.csv").read_text().splitlines() == [
        "step,loss_on_rank_0,learning_rate,samples_per_s",
        "5,6.0,0.5,",
        "10,5.0,,100.0",
        "15,3.0,0.5,",
        "20,2.5,,100.0",
    ]
    assert not (tmp_path / "metrics.csv").exists()


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_package_that_is_missing_is_named_with_the_way_to_install_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_trackers([name])
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None if wanted == name else find(wanted))
    with pytest.raises(ConfigError, match=rf"'{name}' needs the Python package .* pip install 'hvd_train\[{name}\]'"):
        make_trackers([name])


def test_where_a_run_was_sent_to_is_kept_for_each_tracker(tmp_path: Path) -> None:
    assert recall(tmp_path, "mlflow") == {}
    remember(tmp_path, "mlflow", uri="http://a:5000", run_id="12")
    remember(tmp_path, "wandb", run_id="34")
    assert recall(tmp_path, "mlflow") == {"uri": "http://a:5000", "run_id": "12"}
    assert recall(tmp_path, "wandb") == {"run_id": "34"}
    (tmp_path / "trackers.json").write_text("[1")
    assert recall(tmp_path, "mlflow") == {}


class FakeWandbRun:
    def __init__(self, calls: list[Any]) -> None:
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: self._calls.append((name, arguments, named))


def test_wandb_keeps_its_id_its_two_axes_and_asks_no_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[dict[str, Any]] = []
    calls: list[Any] = []
    fake: Any = ModuleType("wandb")
    fake.init = lambda **settings: begun.append(settings) or FakeWandbRun(calls)
    fake.login = lambda *, prompt, verify: prompt or verify
    fake.Settings = dict
    fake.Image = lambda path: f"image of {Path(path).name}"
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for is_last in (False, True):
        tracker = WandbTracker()
        tracker.on_start(CONFIG, {"ranks": "2"}, tmp_path)
        epochs(tracker, (1 + is_last,))
        if is_last:
            (tmp_path / "learning-curve.png").write_bytes(PNG)
            tracker.on_end(SimpleNamespace(metrics={"test": {"rmse": 9.5}}, best_epoch=1, epochs=2))
        tracker.close()
    assert begun[0]["id"] == begun[1]["id"]
    assert {start["mode"] for start in begun} == {"offline"}
    assert {start["resume"] for start in begun} == {"allow"}
    assert begun[0]["config"]["model.name"] == "mlp"
    logged = [arguments[0] for name, arguments, _ in calls if name == "log"]
    assert {"by_step/step": 15, "by_step/learning_rate": 0.5} in logged
    assert {"epoch": 2, "loss": 1.5, "val_loss": 4.0} in logged
    assert logged[-2:] == [
        {"epoch": 1, "test/rmse": 9.5},
        {"epoch": 2, "learning-curve": "image of learning-curve.png"},
    ]
    assert [named for name, _, named in calls if name == "finish"] == [{"exit_code": 1}, {"exit_code": 0}]


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
