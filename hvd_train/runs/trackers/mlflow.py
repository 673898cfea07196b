"""MLflow: a run on the tracking server of MLFLOW_TRACKING_URI, or in a folder without one.

    pip install hvd_train[mlflow]
    MLFLOW_TRACKING_URI=http://host:5000 hvd-train train --trackers mlflow

The experiment is that of MLFLOW_EXPERIMENT_NAME (hvd_train), the run that of MLFLOW_RUN_ID where it is set. A resumed run goes
on in its own run. Passwords and limits of time are MLflow's own variables, too.
"""

from __future__ import annotations

import importlib.util
import os
import re
import time
from pathlib import Path
from typing import Any

from hvd_train.runs.trackers.base import STEP_LOSS, Axis, Beginning, Interval, ScalarTracker
from hvd_train.runs.trackers.places import recall, remember

PACKAGE = "mlflow"
EXPERIMENT = "hvd_train"
SEND_EVERY_S = 5.0
# What one request may hold, by MLflow's interface.
MAX_SCALARS, MAX_PARAMETERS = 1000, 100
MAX_PARAMETER_LENGTH, MAX_TAG_LENGTH = 6000, 5000


class MlflowTracker(ScalarTracker):
    """Sends scalars in batches, one request in some seconds, and pictures as artifacts."""

    def begin(self, beginning: Beginning) -> None:
        from mlflow import MlflowClient

        uri = tracking_uri()
        self._client: Any = MlflowClient(uri)
        self._waiting: list[Any] = []
        self._send_now = Interval(SEND_EVERY_S)
        run_dir = beginning.run_dir
        before = recall(run_dir, PACKAGE)
        known = before["run_id"] if before.get("uri") == uri and "run_id" in before else os.environ.get("MLFLOW_RUN_ID")
        run = self._run_of_before(known) if known else None
        self._steps_before_resume = -1
        if run is None:
            run = self._client.create_run(self._experiment_id(), run_name=run_dir.name)
        else:
            self._client.update_run(run.info.run_id, status="RUNNING")
            steps = self._client.get_metric_history(run.info.run_id, STEP_LOSS) if STEP_LOSS in run.data.metrics else []
            self._steps_before_resume = max((metric.step for metric in steps), default=-1)
        self._run_id = run.info.run_id
        remember(run_dir, PACKAGE, uri=uri, run_id=self._run_id)
        self._describe(beginning, dict(run.data.params))

    def scalars(self, values: dict[str, float], *, step: int, axis: Axis) -> None:
        from mlflow.entities import Metric

        # MLflow keeps what is sent twice, and a resumed run does some steps again.
        if axis == "epoch" or step > self._steps_before_resume:
            now = int(time.time() * 1000)
            self._waiting += [Metric(_allowed(name), float(value), now, step) for name, value in values.items()]
        if axis == "epoch" or self._send_now.is_over():
            self._send()

    def picture(self, name: str, path: Path, *, step: int) -> None:
        self._client.log_artifact(self._run_id, str(path), "pictures")

    def end(self, *, complete: bool) -> None:
        self._send()
        self._client.set_terminated(self._run_id, "FINISHED" if complete else "KILLED")

    def _send(self) -> None:
        while self._waiting:
            self._client.log_batch(self._run_id, metrics=self._waiting[:MAX_SCALARS])
            del self._waiting[:MAX_SCALARS]

    def _run_of_before(self, run_id: str) -> Any:
        """The run, or None where somebody has deleted it."""
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return run if run.info.lifecycle_stage == "active" else None

    def _experiment_id(self) -> str:
        from mlflow.exceptions import MlflowException

        if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return given
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException as error:  # another run has just made it
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise error
        return str(found.experiment_id)

    def _describe(self, beginning: Beginning, known: dict[str, str]) -> None:
        """Parameters never change in MLflow. One that a resumed run has changed becomes a tag `changed.NAME`."""
        from mlflow.entities import Param, RunTag

        given = {_allowed(name): str(value)[:MAX_PARAMETER_LENGTH] for name, value in beginning.parameters.items()}
        new = [Param(name, value) for name, value in given.items() if name not in known]
        for start in range(0, len(new), MAX_PARAMETERS):
            self._client.log_batch(self._run_id, params=new[start : start + MAX_PARAMETERS])
        about = {f"fact.{name}": fact for name, fact in beginning.facts.items()}
        about |= {f"changed.{name}": value for name, value in given.items() if known.get(name, value) != value}
        about["run_dir"] = str(beginning.run_dir)
        tags = [RunTag(_allowed(name), str(value)[:MAX_TAG_LENGTH]) for name, value in about.items()]
        self._client.log_batch(self._run_id, tags=tags)


def tracking_uri() -> str:
    """Where MLflow sends to. The package of the extra cannot write the SQLite file that is its default: then ./mlruns."""
    import mlflow

    uri = str(mlflow.get_tracking_uri())
    if uri.startswith("sqlite") and importlib.util.find_spec("sqlalchemy") is None:
        # MLflow 3 writes no such folder unasked. `mlflow migrate-filestore` turns it into a database.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        return Path("mlruns").absolute().as_uri()
    return uri


def _allowed(name: str) -> str:
    """`name` in the characters that MLflow takes in names."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:250]
