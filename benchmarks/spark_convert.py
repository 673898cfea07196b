"""What a DataFrame of 2 million rows and 90 features takes to become a dataset directory, with a driver of 1 GiB.

    python benchmarks/spark_convert.py --out benchmarks/results

Spark makes the rows on two executors of 1 GiB and one core each (`local-cluster[2,1,1024]`), so nothing comes from this
program. Measured are the seconds of `to_dataset`, the largest resident memory of the driver's Python and of its Java, and what
the driver was sent. Afterwards every checksum is compared.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from records import check, header, save

NUM_ROWS, NUM_FEATURES = 2_000_000, 90
DRIVER = "1g"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=NUM_ROWS)
    parser.add_argument("--scratch", type=Path, help="where to write some GB; by default the system's")
    parser.add_argument("--out", type=Path, help="directory for the dated results")
    arguments = parser.parse_args()
    check(parser, out=arguments.out)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        save(arguments.out, "spark-convert", header() | measure(arguments.rows, Path(scratch)))


def measure(num_rows: int, scratch: Path) -> dict[str, Any]:
    import pyspark
    import pyspark.sql.functions as F
    from pyspark.sql import SparkSession

    import hvd_train.spark
    from hvd_train.data import Dataset

    conf = {
        "spark.driver.memory": DRIVER,
        "spark.executor.memory": "1g",
        "spark.driver.maxResultSize": "64m",
        "spark.local.dir": str(scratch / "spark"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local-cluster[2,1,1024]")
    for key, value in conf.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    features = [(F.rand(seed=i) * 100).alias(f"x{i}") for i in range(NUM_FEATURES)]
    frame = spark.range(0, num_rows, 1, 16).select((F.lit(1922) + F.col("id") % 90).alias("label"), *features)
    out = scratch / "dataset"
    load, started = os.getloadavg()[0], time.perf_counter()
    hvd_train.spark.to_dataset(frame, out, spark=spark, order_by=())
    seconds = time.perf_counter() - started
    java = [child for child in psutil.Process().children(recursive=True) if "SparkSubmit" in " ".join(child.cmdline())]
    dataset = Dataset.open(out)
    assert dataset.find_damage() == []
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    result = {
        "pyspark": pyspark.__version__,
        "rows": sum(dataset.num_rows(split) for split in ("train", "val", "test")),
        "features": dataset.schema.num_features,
        "driver_memory": DRIVER,
        "executors": 2,
        "executor_memory": "1g",
        "seconds": round(seconds, 1),
        "load_before": round(load, 1),
        "dataset_mib": size >> 20,
        "driver_python_mib": largest_resident_mib(os.getpid()),
        "driver_java_mib": largest_resident_mib(java[0].pid) if java else None,
        "max_result_size": conf["spark.driver.maxResultSize"],
    }
    spark.stop()
    return result


def largest_resident_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in status if line.startswith("VmHWM"))) // 1024


if __name__ == "__main__":
    main()
