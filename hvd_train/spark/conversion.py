"""to_dataset: from a DataFrame to a dataset directory. The executors write it; the driver reads the labels alone."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hvd_train.config import RunConfig
from hvd_train.data import Part, PartSpec, Workers, convert_in_parts, write_part
from hvd_train.spark.frames import Frame, prepared, quoted
from hvd_train.spark.places import located
from hvd_train.spark.session import in_our_words, session_of

T = TypeVar("T")
U = TypeVar("U")
BATCH_CELLS = 1 << 20
MAX_BATCH_ROWS = 10_000
PART_BYTES = 64 << 20
UNKNOWN_BYTES = 1 << 60
"""Spark says so where it does not know."""
BATCH_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"


def to_dataset(
    frame: Any,
    out: str | Path,
    config: RunConfig | None = None,
    *,
    spark: Any = None,
    order_by: str | Sequence[str] = (),
    force: bool = False,
    report: Callable[[str], None] | None = None,
) -> str:
    """Write a DataFrame as a dataset directory, which `fit`, `hvd-train train` and every other command read.

        hvd_train.spark.to_dataset(frame, "/nfs/songs", spark=spark, order_by="row")

    The rows stay on the executors. The driver reads the labels, the cells of the column that decides the split, and each
    different text of a column of texts.

    Args:
        frame: columns of numbers or texts, vectors of `pyspark.ml` or arrays of one length, and the label.
        out: a directory that the driver and all executors reach, or a URL that pyarrow or fsspec opens.
        config: its `table` and `split` sections say what the columns mean and how the rows are split.
        spark: the session; by default the active one.
        order_by: the columns that put the rows in an order. With them the result is that of a file in this order, bit for
            bit. They are no features, unless the config names them so. By default a hash of the row gives the order.
        force: replace a dataset that is there.
        report: receives what the user should know about the data.

    Returns:
        `out`.

    Raises:
        DataError: for a DataFrame that is no table to train on. Then nothing is left in `out`.
        MissingEnvironment: where an executor lacks hvd_train or runs another Python.
    """
    spark = session_of(spark)
    config = config or RunConfig()
    columns = (order_by,) if isinstance(order_by, str) else tuple(order_by)
    with in_our_words("read the DataFrame"):
        ready = prepared(frame, config, columns)
        workers = SparkWorkers(spark, ready)
        place = located(out)
        convert_in_parts(
            ready.table,
            ready.widths,
            place,
            config.table,
            config.split,
            workers,
            force=force,
            num_tasks=workers.num_tasks,
            report=report,
        )
    return place


class SparkWorkers(Workers):
    """The executors."""

    def __init__(self, spark: Any, frame: Frame) -> None:
        self.spark, self.frame = spark, frame
        parallel = spark.sparkContext.defaultParallelism
        self.num_tasks = 2 * parallel
        self.num_parts = max(2 * parallel, self._parts_by_size())

    def _parts_by_size(self) -> int:
        """A part is sorted by one task, which spills what does not fit: small ones need little memory."""
        size = int(str(self.frame.rows._jdf.queryExecution().optimizedPlan().stats().sizeInBytes()))
        if size >= UNKNOWN_BYTES:  # rows that come from Python, for instance
            return int(self.spark.conf.get("spark.sql.shuffle.partitions"))
        return size // PART_BYTES

    def write_parts(self, spec: PartSpec) -> list[Part]:
        frame = self.frame
        sorted_rows = frame.rows.repartitionByRange(self.num_parts, *frame.order).sortWithinPartitions(*frame.order)
        rows = sorted_rows.select(*map(quoted, frame.names))
        with _batches_of(self.spark, max(1, min(MAX_BATCH_ROWS, BATCH_CELLS // len(spec.schema.names)))):
            self._describe("reads the DataFrame and puts its rows in order")
            written = rows.mapInArrow(_write_part_of(spec), "part binary").collect()
        return [pickle.loads(bytes(row.part)) for row in written]

    def map(self, function: Callable[[T], U], items: Sequence[T], *, what: str) -> list[U]:
        self._describe(what)
        return list(self.spark.sparkContext.parallelize(items, max(1, len(items))).map(function).collect())

    def _describe(self, what: str) -> None:
        self.spark.sparkContext.setJobDescription(f"hvd_train {what}")


def _write_part_of(spec: PartSpec) -> Callable[[Iterator[Any]], Iterator[Any]]:
    def write(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa
        from pyspark import TaskContext

        context = TaskContext.get()
        assert context is not None
        part = write_part(spec, context.partitionId(), batches)
        yield pa.RecordBatch.from_arrays([pa.array([pickle.dumps(part)], pa.binary())], names=["part"])

    return write


@contextmanager
def _batches_of(spark: Any, num_rows: int) -> Iterator[None]:
    before = spark.conf.get(BATCH_ROWS)
    spark.conf.set(BATCH_ROWS, str(num_rows))
    try:
        yield
    finally:
        spark.conf.set(BATCH_ROWS, before)
