"""A run that is cut short goes on where it was, with the same result as one that was not.

horovodrun -np 2 python examples/resume.py
"""

import keras

import hvd_train


class StopAfterTwo(keras.callbacks.Callback):
    """Ends training after two epochs, as a time limit would."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


config = hvd_train.recipe("debug")
try:
    hvd_train.train(config=config, run_dir="runs/resume", callbacks=[StopAfterTwo()])
except KeyboardInterrupt:
    print("cut short")  # on each rank

report = hvd_train.train(config=config, run_dir="runs/resume", resume=True)
if hvd_train.open_world().is_root:
    print(f"{report.epochs} epochs in all")
