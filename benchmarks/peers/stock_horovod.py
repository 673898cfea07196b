"""Peer: Horovod's own example of Keras (examples/tensorflow2/tensorflow2_keras_mnist.py of v0.28.1) with our net and rows.

horovodrun -np 2 python stock_horovod.py          (in the TensorFlow 2.15 environment)
"""

import os

import peer

peer.pin(int(os.environ.get("OMPI_COMM_WORLD_LOCAL_RANK", 0)), int(os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE", 1)))

import horovod.tensorflow.keras as hvd  # noqa: E402
import tensorflow as tf  # noqa: E402
from horovod.tensorflow import broadcast_object  # noqa: E402

hvd.init()
dataset = tf.data.Dataset.from_tensor_slices(peer.rows()).repeat().shuffle(10000).batch(peer.LOCAL_BATCH)
model = tf.keras.Sequential(
    [
        tf.keras.layers.Conv1D(32, 3, padding="same", activation="relu", input_shape=(peer.NUM_FEATURES, 1)),
        tf.keras.layers.Conv1D(32, 3, padding="same", activation="relu"),
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(128, activation="relu"),
        tf.keras.layers.Dense(peer.NUM_CLASSES, activation="softmax"),
    ]
)
opt = tf.optimizers.Adam(0.001 * hvd.size())
opt = hvd.DistributedOptimizer(opt, backward_passes_per_step=1, average_aggregated_gradients=True)
model.compile(
    loss=tf.losses.SparseCategoricalCrossentropy(),
    optimizer=opt,
    metrics=["accuracy"],
    experimental_run_tf_function=False,
)
clock = peer.Clock()
STEPS = 25


class Timed(tf.keras.callbacks.Callback):
    """Ends training when rank 0's time is up: asked once in STEPS steps, by all ranks."""

    def on_train_batch_end(self, batch, logs=None):
        self.done = clock.step()

    def on_epoch_end(self, epoch, logs=None):
        if broadcast_object(self.done, root_rank=0):
            self.model.stop_training = True


callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0), hvd.callbacks.MetricAverageCallback(), Timed()]
model.fit(dataset, steps_per_epoch=STEPS, callbacks=callbacks, epochs=100_000, verbose=0)
clock.tell(hvd.rank())
