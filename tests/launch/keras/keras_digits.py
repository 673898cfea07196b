"""A script as Horovod's users wrote it for Keras 2, with the import changed: test_keras_programs.py runs it.

A lazily built convolutional network, on drawn digits of ten kinds; every line of it is an idiom of Horovod's documents.
"""

import sys

import numpy as np
import tensorflow as tf

import hvd_train.keras as hvd

hvd.init()

random = np.random.default_rng(hvd.rank())
labels = random.integers(0, 10, 512)
patterns = np.random.default_rng(0).random((10, 12, 12))
images = patterns[labels] + 0.3 * random.random((512, 12, 12))
dataset = tf.data.Dataset.from_tensor_slices((tf.cast(images[..., tf.newaxis], tf.float32), tf.cast(labels, tf.int64)))
dataset = dataset.repeat().shuffle(512).batch(32)

model = tf.keras.Sequential(
    [
        tf.keras.layers.Conv2D(8, [3, 3], activation="relu"),
        tf.keras.layers.MaxPooling2D(pool_size=(2, 2)),
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dropout(0.1),
        tf.keras.layers.Dense(10, activation="softmax"),
    ]
)
scaled_lr = 0.002 * hvd.size()
opt = tf.optimizers.Adam(lr=scaled_lr)
opt = hvd.DistributedOptimizer(opt, backward_passes_per_step=1, average_aggregated_gradients=True)
model.compile(
    loss=tf.losses.SparseCategoricalCrossentropy(),
    optimizer=opt,
    metrics=["accuracy"],
    experimental_run_tf_function=False,
)
callbacks = [
    hvd.callbacks.BroadcastGlobalVariablesCallback(0),
    hvd.callbacks.MetricAverageCallback(),
    hvd.callbacks.LearningRateWarmupCallback(initial_lr=scaled_lr, warmup_epochs=2, verbose=1),
    tf.keras.callbacks.ReduceLROnPlateau(patience=10, verbose=1),
]
if hvd.rank() == 0:
    callbacks.append(tf.keras.callbacks.ModelCheckpoint(sys.argv[1] + "/checkpoint-{epoch}.h5"))
history = model.fit(dataset, steps_per_epoch=24 // hvd.size(), callbacks=callbacks, epochs=4, verbose=0)

total = sum(float(np.abs(w).sum()) for w in model.get_weights())
sys.stdout.write(f"end rank={hvd.rank()} accuracy={history.history['accuracy'][-1]:.6f} weights={total:.4f}\n")
