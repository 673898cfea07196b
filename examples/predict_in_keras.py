"""Use a trained model where hvd_train is not installed: it is one .keras file that plain Keras reads.

python examples/predict_in_keras.py runs/quickstart/model.keras
"""

import sys

import keras
import numpy as np

model = keras.models.load_model(sys.argv[1], compile=False)
rows = np.random.default_rng(0).normal(size=(3, model.input_shape[1])).astype("float32")  # your rows: (N, F)
outputs = model.predict(rows, verbose=0)
print(outputs["expected"].ravel())
