"""Peer: MultiWorkerMirroredStrategy as TensorFlow's tutorial "Multi-worker training with Keras" has it, with our net and rows.

TF_CONFIG=... python multi_worker_mirrored.py     (one for each worker, in the TensorFlow 2.15 environment)
"""

import json
import os

import peer

config = json.loads(os.environ["TF_CONFIG"])
size, rank = len(config["cluster"]["worker"]), config["task"]["index"]
peer.pin(rank, size)

import tensorflow as tf  # noqa: E402

strategy = tf.distribute.MultiWorkerMirroredStrategy()
dataset = tf.data.Dataset.from_tensor_slices(peer.rows()).shuffle(10000).repeat().batch(peer.LOCAL_BATCH * size)
with strategy.scope():
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Conv1D(32, 3, padding="same", activation="relu", input_shape=(peer.NUM_FEATURES, 1)),
            tf.keras.layers.Conv1D(32, 3, padding="same", activation="relu"),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(128, activation="relu"),
            tf.keras.layers.Dense(peer.NUM_CLASSES),
        ]
    )
    model.compile(
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=tf.keras.optimizers.Adam(0.001),
        metrics=["accuracy"],
    )
clock = peer.Clock()
EPOCHS, STEPS = int(os.environ.get("PEER_EPOCHS", "8")), 25


class Timed(tf.keras.callbacks.Callback):
    """All workers must take the same number of epochs, so that is fixed; the clock counts until its time is up."""

    enough = False

    def on_train_batch_end(self, batch, logs=None):
        self.enough = self.enough or clock.step()


model.fit(dataset, epochs=EPOCHS, steps_per_epoch=STEPS, callbacks=[Timed()], verbose=0)
clock.tell(rank)
