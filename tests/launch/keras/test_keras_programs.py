"""Whole programs that use hvd_train.keras, started as users start them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from processes import REPOSITORY, Finished, horovodrun, mpirun, run

HERE = Path(__file__).parent
ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"}


def ends(finished: Finished) -> list[tuple[str, ...]]:
    return re.findall(r"end rank=(\d+) accuracy=(\S+) weights=(\S+)", finished.stdout)


@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    ("launch", "np"),
    [(horovodrun, 2), pytest.param(mpirun, 3, marks=pytest.mark.slow)],
    ids=["horovodrun 2", "mpirun 3"],
)
def test_script_of_keras_2(tmp_path: Path, launch: object, np: int) -> None:
    """It learns; all ranks end with the same metrics and weights; what Keras 3 would refuse is said once each."""
    command = launch(np, sys.executable, HERE / "keras_digits.py", tmp_path)  # type: ignore[operator]
    finished = run(command, timeout_s=140, env=ENVIRONMENT, cwd=tmp_path)
    found = ends(finished)
    assert sorted(rank for rank, *_ in found) == [str(rank) for rank in range(np)], str(finished)
    assert len({rest for _, *rest in map(tuple, found) for rest in [tuple(rest)]}) == 1, str(finished)
    # Few steps from a start without a seed; chance is 0.1.
    assert float(found[0][1]) > 0.5
    assert finished.output.count("finished gradual learning rate warmup") == 1
    for words in ("Keras 3 has no `lr`", "Keras 3 has no `experimental_run_tf_function`", 'jit_compile="auto"'):
        assert finished.output.count(words) == 1, str(finished)
    assert sorted(p.name for p in tmp_path.glob("*.h5")) == [f"checkpoint-{n}.h5" for n in (1, 2, 3, 4)]


UNINITIALIZED = """
import keras, numpy as np
import hvd_train.keras as hvd
v = keras.Variable([1.0])
model = keras.Sequential([keras.Input((1,)), hvd.SyncBatchNormalization()])
model.compile(keras.optimizers.SGD(), "mse", jit_compile=False)
state = lambda: hvd.elastic.KerasState(model)
fit = lambda *callbacks: model.fit(np.ones((2, 1)), np.ones((2, 1)), verbose=0, callbacks=list(callbacks))
calls = {
    "rank": hvd.rank, "size": hvd.size,
    "allreduce": lambda: hvd.allreduce(1.0), "allgather": lambda: hvd.allgather([1.0]),
    "broadcast": lambda: hvd.broadcast(1.0, 0), "reducescatter": lambda: hvd.reducescatter([1.0]),
    "broadcast_variables": lambda: hvd.broadcast_variables([v], 0),
    "broadcast_global_variables": lambda: hvd.broadcast_global_variables(0),
    "DistributedOptimizer": lambda: hvd.DistributedOptimizer(keras.optimizers.SGD()),
    "PartialDistributedOptimizer": lambda: hvd.PartialDistributedOptimizer(keras.optimizers.SGD()),
    "DistributedGradientTape": lambda: hvd.DistributedGradientTape(None),
    "load_model": lambda: hvd.load_model("no.keras"), "KerasState": state, "SyncBatchNormalization": fit,
    "BroadcastGlobalVariablesCallback": lambda: fit(hvd.callbacks.BroadcastGlobalVariablesCallback(0)),
    "MetricAverageCallback": lambda: fit(hvd.callbacks.MetricAverageCallback()),
    "LearningRateWarmupCallback": lambda: fit(hvd.callbacks.LearningRateWarmupCallback(0.1)),
}
for name, call in calls.items():
    try:
        call()
    except ValueError as error:
        assert "has not been initialized" in str(error), (name, error)
        print("loud:", name)
    else:
        print("silent:", name)
"""


@pytest.mark.timeout(100)
def test_everything_says_that_horovod_is_not_initialized() -> None:
    finished = run([sys.executable, "-c", UNINITIALIZED], timeout_s=90, env=ENVIRONMENT)
    assert "silent" not in finished.stdout, str(finished)
    assert finished.stdout.count("loud:") == 17, str(finished)


ALONE = """
import os, subprocess, sys
import hvd_train.keras as hvd
import keras, numpy as np, tensorflow as tf
print("before")
hvd.init()
subprocess.run(["echo", "from a child process"], check=True)
if os.fork() == 0:
    os.write(1, b"from a fork\\n")
    os._exit(0)
os.wait()
model = keras.Sequential([keras.Input((3,)), tf.keras.layers.Dense(1)])
model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), "mse")
model.fit(np.ones((8, 3)), np.ones((8, 1)), verbose=2, callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0)])
print("ranks", hvd.size(), keras.backend.backend(), flush=True)
"""


@pytest.mark.timeout(100)
def test_script_without_a_launcher_in_the_environment_of_another_keras(tmp_path: Path) -> None:
    """As `python script.py` or a notebook: one rank; and Keras on TensorFlow, whatever other projects run on."""
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text('{"backend": "torch"}')
    other = {"HOME": str(tmp_path), "KERAS_BACKEND": "jax", "TF_USE_LEGACY_KERAS": "1"}
    finished = run([sys.executable, "-c", ALONE], timeout_s=90, env={**ENVIRONMENT, **other})
    assert finished.code == 0, str(finished)
    lines = finished.stdout.splitlines()
    for line in ("before", "from a child process", "from a fork", "ranks 1 tensorflow"):
        assert line in lines, str(finished)
    for words in ("KERAS_BACKEND=jax is taken as tensorflow", "TF_USE_LEGACY_KERAS is taken as 0"):
        assert finished.output.count(words) == 1, str(finished)


UNEVEN = """
import numpy as np, tensorflow as tf
import hvd_train.keras as hvd
import keras
hvd.init()
rows = [(np.ones((2, 3)), np.ones((2, 1)))] * (3 + 2 * hvd.rank())
kinds = (tf.TensorSpec((None, 3)), tf.TensorSpec((None, 1)))
data = tf.data.Dataset.from_generator(lambda: rows, output_signature=kinds)  # of a length that nobody knows
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), "mse")
callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0), hvd.callbacks.MetricAverageCallback()]
model.fit(data, epochs=3, verbose=0, callbacks=callbacks)
"""


@pytest.mark.timeout(100)
@pytest.mark.slow
def test_ranks_with_other_numbers_of_steps_end_within_the_limit() -> None:
    """Rank 0 is at the end of its epoch and gathers, rank 1 is in a step and averages: each says where it was, and why."""
    limits = {"HOROVOD_STALL_CHECK_TIME_SECONDS": "2", "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "4"}
    finished = run(mpirun(2, sys.executable, "-c", UNEVEN), timeout_s=90, env={**ENVIRONMENT, **limits}, ok=False)
    assert finished.code not in (0, None)
    assert "1!:" in finished.output, str(finished)  # Horovod names the missing rank
    assert "at the end of epoch 1, and Horovod ended the job" in finished.output, str(finished)
    assert "different numbers of steps" in finished.output
