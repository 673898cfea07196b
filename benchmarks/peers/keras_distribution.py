"""Peer: `keras.distribution` with the JAX backend, as Keras' guide to distribution has it, with our net and rows.

TF_CONFIG=... python keras_distribution.py     (one for each process, in an environment with jax and keras)
"""

import json
import os

import peer

config = json.loads(os.environ["TF_CONFIG"])
addresses, rank = config["cluster"]["worker"], config["task"]["index"]
peer.pin(rank, len(addresses))
os.environ["KERAS_BACKEND"] = "jax"

import jax  # noqa: E402

# Without it JAX's CPU devices of two processes cannot exchange anything.
jax.config.update("jax_cpu_collectives_implementation", "gloo")

import keras  # noqa: E402

keras.distribution.initialize(job_addresses=addresses[0], num_processes=len(addresses), process_id=rank)
keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
keras.utils.set_random_seed(0)
rows, labels = peer.rows()
rows, labels = rows[rank :: len(addresses)], labels[rank :: len(addresses)]
model = keras.Sequential(
    [
        keras.layers.Input((peer.NUM_FEATURES, 1)),
        keras.layers.Conv1D(32, 3, padding="same", activation="relu"),
        keras.layers.Conv1D(32, 3, padding="same", activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(peer.NUM_CLASSES),
    ]
)
model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), optimizer=keras.optimizers.Adam(0.001))
clock = peer.Clock()


class Timed(keras.callbacks.Callback):
    enough = False

    def on_train_batch_end(self, batch, logs=None):
        self.enough = self.enough or clock.step()


epochs = int(os.environ.get("PEER_EPOCHS", "8"))
model.fit(rows, labels, batch_size=peer.LOCAL_BATCH, epochs=epochs, callbacks=[Timed()], verbose=0, shuffle=False)
clock.tell(rank)
