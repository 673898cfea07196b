"""predict_udf: a finished run as a function of Spark's columns. Each worker process loads the model once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hvd_train.runs import RunDir
from hvd_train.spark.session import session_of

SQL_TYPES = {"number": "double", "whole": "bigint", "text": "string"}


def predict_udf(run_dir: str | Path, *, spark: Any = None) -> Any:
    """A pandas UDF that predicts each row by the best model of a run.

        predict = hvd_train.spark.predict_udf("/nfs/runs/songs")
        frame.withColumn("predicted", predict(F.struct(*frame.columns))).select("predicted.expected")

    Its argument is a struct with the model's columns, by name; others are not looked at. An array counts as a column for
    each of its values, as in training. A vector of `pyspark.ml` goes through `vector_to_array` first.

    Args:
        run_dir: a finished run, in a place that all executors reach.
        spark: the session; by default the active one.

    Returns:
        A function of a column, which gives a struct. For years and integers its fields are expected, median, most_likely,
        probability, low_90 and high_90 (the 90 % interval); for classes most_likely and probability; for real values
        predicted, and `deviation` where the loss is gaussian.

    Raises:
        CheckpointError: where the run is not finished.
    """
    session_of(spark)
    import pandas as pd
    from pyspark.sql.functions import pandas_udf

    from hvd_train.inference import prediction_fields

    path = str(Path(run_dir).absolute())
    fields = prediction_fields(RunDir(Path(path)))
    types = ", ".join(f"{name} {SQL_TYPES[kind]}" for name, kind in fields.items())

    def predict(batches: Any) -> Any:
        from hvd_train.spark.prediction import predictor

        function = predictor(path)
        for batch in batches:
            yield function(batch)

    # The annotations in this file are texts, and Spark wants types.
    predict.__annotations__ = {"batches": Iterator[pd.DataFrame], "return": Iterator[pd.DataFrame]}
    return pandas_udf(predict, types)  # type: ignore[call-overload]


@functools.lru_cache(maxsize=2)
def predictor(run_dir: str) -> Callable[[Any], Any]:
    """The function from rows to predictions of this process, with the model that it loaded once."""
    import pandas as pd
    import pyarrow as pa

    from hvd_train.distributed import open_world

    open_world(environment={})  # one rank, whatever launched the executor
    from hvd_train.inference import batch_predictor, load_trained

    function = batch_predictor(load_trained(RunDir(Path(run_dir))))

    def predict(rows: Any) -> Any:
        return pd.DataFrame(function(pa.RecordBatch.from_pandas(rows, preserve_index=False)))

    return predict
