"""The Spark session of a call, what it lacks, and its errors in words of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from hvd_train.errors import ConfigError, DataError, HvdTrainError, MissingEnvironment

INSTALL = "Install it with `pip install hvd_train[spark]`."


def session_of(spark: Any) -> Any:
    """The session that was given, else the active one, else a new one. Raises MissingEnvironment where Spark cannot start."""
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise MissingEnvironment(f"PySpark cannot be loaded here ({error}). {INSTALL}") from None
    if spark is None:
        try:
            spark = SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()
        except Exception as error:
            if "JAVA_GATEWAY" in str(error) or "Java gateway" in str(error):
                raise MissingEnvironment(
                    "Spark could not start Java on this machine. Install Java 17 (Debian: apt-get install "
                    "openjdk-17-jre-headless), or set JAVA_HOME to where it is."
                ) from None
            raise
    if not hasattr(spark, "_jsparkSession"):
        raise ConfigError(
            f"spark = {type(spark).__name__} of {type(spark).__module__} is not possible: it is a classic SparkSession, "
            "since ranks run in a barrier stage of its SparkContext. Spark Connect has none: start this with spark-submit."
        )
    return spark


def num_slots(spark: Any) -> int:
    """How many tasks can run at once now."""
    context = spark.sparkContext
    with suppress(Exception):  # a method of Spark's own, which may move
        java = context._jsc.sc()
        return int(java.maxNumConcurrentTasks(java.resourceProfileManager().defaultResourceProfile()))
    return int(context.defaultParallelism)


@contextmanager
def in_our_words(what: str) -> Iterator[None]:
    """Turn an error of Spark in the block into one of ours, where it is known what it means."""
    try:
        yield
    except HvdTrainError:
        raise
    except Exception as error:
        known = known_error(str(error), what)
        if known is None:
            raise
        raise known from None


def known_error(text: str, what: str) -> HvdTrainError | None:
    """What an error of Spark means, or None. Pure.

    >>> str(known_error("ModuleNotFoundError: No module named 'hvd_train'", "train"))[:42]
    'Spark could not train: hvd_train is not in'
    """
    if found := re.search(r"No module named '?(hvd_train|numpy|pyarrow|pandas)\b", text):
        return MissingEnvironment(
            f"Spark could not {what}: {found[1]} is not installed for the Python of an executor. Install hvd_train there, "
            "send an environment along (spark-submit --archives env.tar.gz#env), or name one that has it by PYSPARK_PYTHON."
        )
    if "PYTHON_VERSION_MISMATCH" in text or "different version" in text:
        versions = re.findall(r"\b3\.\d+", text)
        shown = f" ({versions[0]} there, {versions[1]} here)" if len(versions) > 1 else ""
        return MissingEnvironment(
            f"Spark could not {what}: the executors run another Python than the driver{shown}. Name one that both have by "
            "PYSPARK_PYTHON, or by --conf spark.pyspark.python."
        )
    if found := re.search(r"hvd_train\.errors\.DataError: (.+)", text):
        return DataError(found[1].strip())
    if re.search(r"Cannot run program .*(No such file|error=2)", text):
        return MissingEnvironment(
            f"Spark could not {what}: an executor does not find its Python. Name it by PYSPARK_PYTHON, by a path that all "
            "machines have."
        )
    if "No space left on device" in text:
        return DataError(f"Spark could not {what}: no space is left on a disk of an executor. Make room there.")
    return None
