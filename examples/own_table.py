"""Train on a pandas DataFrame, then predict other rows of the same columns.

python examples/own_table.py
horovodrun -np 2 python examples/own_table.py
"""

import numpy as np
import pandas as pd

import hvd_train

# Every rank makes the same table. Yours may come from pd.read_csv, a database, or anywhere else.
random = np.random.default_rng(0)
frame = pd.DataFrame(random.normal(size=(4000, 12)), columns=[f"sensor_{i}" for i in range(12)])
frame["state"] = np.where(frame["sensor_0"] + frame["sensor_5"] > 0, "open", "closed")

config = hvd_train.recipe("default").replace(training={"num_epochs": 5})
report = hvd_train.train(frame, label="state", config=config, run_dir="runs/own-table")

predictions = hvd_train.predict("runs/own-table", frame.drop(columns="state").head())
if hvd_train.open_world().is_root:
    print(predictions)
    print(f"accuracy on rows held out: {report.metrics['test']['accuracy']:.1%}")
