"""What fit says of DataFrames that are no tables to train on, and of what is not there: one JSON document a line."""

import json
import sys
from datetime import datetime
from decimal import Decimal

import pyspark.sql.functions as F
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

import hvd_train
import hvd_train.spark
from hvd_train.errors import UserError

folder = sys.argv[1]
spark = SparkSession.builder.getOrCreate()
plain = spark.range(0, 400, 1, 3).select(
    (F.lit(1990) + F.col("id") % 20).alias("year"), *(F.sin(F.col("id") * i).alias(f"x{i}") for i in (1, 2, 3)), "id"
)
where = F.col("id") == 250


def told(name: str, frame: object, order_by: object = "id", **more: object) -> None:
    options = {"num_proc": 2, "start_timeout_s": 3.0, "run_dir": f"{folder}/{name}", **more}
    try:
        hvd_train.spark.fit(frame, hvd_train.recipe("debug"), spark=spark, order_by=order_by, verbose=False, **options)
        says = "nothing"
    except UserError as error:
        says = f"{type(error).__name__}: {error}"
    print(json.dumps({"name": name, "says": says}), flush=True)


told("null label", plain.withColumn("year", F.when(~where, F.col("year"))))
told("infinite", plain.withColumn("x2", F.when(where, F.lit(float("inf"))).otherwise(F.col("x2"))))
told("texts may be the label", plain.select("x1", "id", F.concat(F.lit("loud"), "x2").alias("x2")))
told("text", plain.withColumn("x2", F.concat(F.lit("loud"), "x2")))
told("nested", plain.withColumn("x2", F.struct("x1", "x3")))
told("array of another length", plain.withColumn("a", F.when(where, F.array("x1")).otherwise(F.array("x1", "x2"))))
told("array of arrays", plain.withColumn("a", F.array(F.array("x1"))))
told("map", plain.withColumn("a", F.create_map("x1", "x2")))
told("label is a struct", plain.withColumn("year", F.struct("x1")))
told("label is an identifier", plain.withColumn("year", F.concat(F.lit("n"), "id")))
told("one class", plain.withColumn("year", F.lit(2000)))
told("empty", plain.where("id < 0"))
told("no columns", plain.select(), order_by=())
told("one column", plain.select("year"), order_by=())
told("unknown order", plain, order_by="when")
told("too few rows", plain.where("id < 2"))
songs = plain.select("year", *(F.col("x1").alias(f"c{i}") for i in range(90)))
told("songs without an order", songs, order_by=())
told("more ranks than slots", plain, num_proc=64)
told("no ranks", plain, num_proc=0)
told("unknown engine", plain, engine="gloo")

# What is a table all the same: decimals, booleans, times, vectors, and nulls among the features.
rows = [
    (1990 + i % 20, Vectors.dense(i, i * i), Decimal(i) / 7, i % 2 == 0, datetime(2020, 1, 1 + i % 28), i)
    for i in range(300)
]
mixed = spark.createDataFrame(rows, ["year", "v", "d", "b", "t", "id"]).withColumn(
    "n", F.when(F.col("id") % 9 != 0, F.col("id") * 1.5)
)
place = hvd_train.spark.to_dataset(mixed, f"{folder}/mixed", spark=spark, order_by="id")
again = hvd_train.spark.to_dataset(mixed.repartition(11), f"{folder}/again", spark=spark)
other = hvd_train.spark.to_dataset(mixed.orderBy("n").coalesce(2), f"{folder}/other", spark=spark)
print(json.dumps({"name": "mixed", "says": place}))
