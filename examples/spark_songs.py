"""Songs on Spark: a CSV file becomes a DataFrame, each executor trains as one rank, and the model predicts on all of them.

    hvd-train data songs songs.csv --rows 20000
    spark-submit --master spark://HOST:7077 examples/spark_songs.py songs.csv /nfs/runs/songs --num-proc 2

The table and the run directory lie where the driver and all executors see them.
"""

import argparse

import pyspark.sql.functions as F
from pyspark.sql import SparkSession

import hvd_train
import hvd_train.spark


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="a CSV file with a header, whose label is the column year")
    parser.add_argument("run_dir")
    parser.add_argument("--num-proc", type=int, default=2)
    parser.add_argument("--engine", choices=["horovod", "tensorflow"], default="horovod")
    parser.add_argument("--recipe", default="default")
    given = parser.parse_args()

    spark = SparkSession.builder.appName("songs").getOrCreate()
    songs = spark.read.csv(given.table, header=True, inferSchema=True)
    # Songs of one artist stand together, so their split goes by their order, which a DataFrame has only while it is as it
    # was read.
    songs = songs.withColumn("row", F.monotonically_increasing_id())

    report = hvd_train.spark.fit(
        songs,
        hvd_train.recipe(given.recipe),
        spark=spark,
        num_proc=given.num_proc,
        engine=given.engine,
        run_dir=given.run_dir,
        order_by="row",
    )
    print(f"test MAE {report.metrics['test']['mae']:.3f} years on {report.size} ranks")

    predict = hvd_train.spark.predict_udf(given.run_dir, spark=spark)
    features = [name for name in songs.columns if name not in ("year", "row")]
    predicted = songs.limit(1000).withColumn("predicted", predict(F.struct(*features)))
    error = predicted.select(F.avg(F.abs(F.col("predicted.expected") - F.col("year")))).first()[0]
    print(f"mean error of 1000 songs, predicted by the executors: {error:.3f} years")
    spark.stop()


if __name__ == "__main__":
    main()
