"""A script written for horovod.tensorflow.keras. Only its import of Horovod was changed.

horovodrun -np 2 python examples/horovod_script.py
"""

import keras
import numpy as np

import hvd_train.keras as hvd  # was: import horovod.tensorflow.keras as hvd

hvd.init()

# Each rank draws samples of its own: ten patterns of 12 x 12 pixels, with noise.
random = np.random.default_rng(hvd.rank())
labels = random.integers(0, 10, 2048)
images = np.random.default_rng(99).random((10, 12, 12))[labels] + 0.3 * random.random((2048, 12, 12))

model = keras.Sequential(
    [
        keras.Input((12, 12, 1)),
        keras.layers.Conv2D(8, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
optimizer = hvd.DistributedOptimizer(keras.optimizers.Adam(0.001 * hvd.size()))
model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])

callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0), hvd.callbacks.MetricAverageCallback()]
history = model.fit(images[..., None], labels, batch_size=64, epochs=3, callbacks=callbacks, verbose=0)
if hvd.rank() == 0:
    print(f"accuracy {history.history['accuracy'][-1]:.3f} on {hvd.size()} ranks")
