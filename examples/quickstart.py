"""Train on the embedded songs, score the model, and predict rows. On one rank, or on several:

python examples/quickstart.py
horovodrun -np 2 python examples/quickstart.py
"""

import hvd_train

world = hvd_train.open_world()  # joins the other ranks, where there are some
config = hvd_train.recipe("debug")
report = hvd_train.train(config=config, run_dir="runs/quickstart")

scores = hvd_train.evaluate("runs/quickstart", split="val")
if world.is_root:
    print(f"{report.epochs} epochs; mean absolute error {scores['metrics']['mae']:.2f} years")
