"""fit on a DataFrame whose rows lie in another order and in other partitions than in the file: shuffled.py CSV RUN_DIR ENGINE
[EPOCHS [GROUP]]."""

import os
import sys
import threading
from pathlib import Path

import pyspark.sql.functions as F
from pyspark.sql import SparkSession

import hvd_train
import hvd_train.spark

csv, run_dir, engine, *more = sys.argv[1:]
spark = SparkSession.builder.getOrCreate()
frame = spark.read.csv(csv, header=True, inferSchema=True).withColumn("row", F.monotonically_increasing_id())
frame = frame.orderBy(F.rand(seed=5)).repartition(7)
config = hvd_train.recipe("debug")
if more:
    config = config.replace(training={"num_epochs": int(more[0])})
if "METRIC" in os.environ:  # of the driver
    config = config.replace(evaluation={"metrics": (os.environ["METRIC"],)})
if len(more) > 1:  # another thread cancels what this one starts
    spark.sparkContext.setJobGroup(more[1], "a group of the user's own", True)

    def cancel() -> None:
        while not (Path(run_dir) / "metrics.csv").exists():
            threading.Event().wait(0.2)
        spark.sparkContext.cancelJobGroup(more[1])

    threading.Thread(target=cancel, daemon=True).start()
report = hvd_train.spark.fit(frame, config, spark=spark, num_proc=2, engine=engine, run_dir=run_dir, order_by="row")
print("ranks", report.size, "epochs", report.epochs)
