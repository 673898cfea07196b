"""The program of test_keras_elastic.py: trains under elastic horovodrun until what the scenario waits for has happened.

Usage: keras_elastic.py SCENARIO DIRECTORY. Every epoch each rank writes a line "epoch=E size=S iterations=I".
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import hvd_train.keras as hvd

STEPS = 4
GIVE_UP_S = 60.0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Scenario(keras.callbacks.Callback):
    """Makes it happen, and knows when the training may end: after an epoch at each size that is to be seen."""

    def __init__(self, name: str, directory: Path, state: Any) -> None:
        super().__init__()
        self.name, self.directory, self.state = name, directory, state
        self.give_up = time.monotonic() + GIVE_UP_S

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        time.sleep(0.05)
        once = self.directory / "killed"
        if self.name == "kill" and hvd.rank() == 1 and self.state.epoch == 1 and batch == 1 and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        size, iterations = hvd.size(), int(self.model.optimizer.iterations)
        total = sum(float(v.numpy().sum()) for v in self.model.trainable_variables)
        say(f"epoch={self.state.epoch} size={size} rank={hvd.rank()} iterations={iterations} weights={total:.6f}")
        if time.monotonic() > self.give_up:
            raise TimeoutError(f"{self.name}: nothing has happened in {GIVE_UP_S:g} s")
        if self.state.sizes[-1:] != [size]:
            self.state.sizes = [*self.state.sizes, size]
        if self.name == "come and go" and hvd.rank() == 0:
            hosts = self.directory / "hosts"
            if self.state.sizes == [1]:
                hosts.write_text("localhost:1\n127.0.0.1:1\n")
            elif self.state.sizes == [1, 2]:
                hosts.write_text("localhost:1\n")
        over = {"kill": [2, 1], "come and go": [1, 2, 1]}[self.name]
        if self.state.sizes == over:
            self.model.stop_training = True


def main() -> None:
    hvd.init()
    keras.utils.set_random_seed(hvd.rank())
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)])
    model.compile(hvd.DistributedOptimizer(keras.optimizers.Adam(0.01)), "mse")
    state = hvd.elastic.KerasState(model, batch=0, epoch=0, sizes=[])

    @hvd.elastic.run
    def train(state: Any) -> None:
        say(
            f"start size={hvd.size()} rank={hvd.rank()} epoch={state.epoch} iterations={int(model.optimizer.iterations)}"
        )
        x = np.random.default_rng(hvd.rank()).normal(size=(STEPS * 8, 3)).astype("float32")
        callbacks = [
            hvd.elastic.UpdateEpochStateCallback(state),
            Scenario(sys.argv[1], Path(sys.argv[2]), state),
            hvd.elastic.UpdateBatchStateCallback(state),
            hvd.elastic.CommitStateCallback(state),
        ]
        model.fit(x, x.sum(1), batch_size=8, epochs=10_000, verbose=0, callbacks=callbacks)

    train(state)
    say(f"done size={hvd.size()} rank={hvd.rank()} sizes={state.sizes} iterations={int(model.optimizer.iterations)}")


if __name__ == "__main__":
    main()
