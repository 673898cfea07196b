"""Data: from a file to balanced, sharded batches. numpy, pandas, pyarrow and pooch only; never TensorFlow or Horovod.

>>> from hvd_train.config.schema import DataConfig
>>> from hvd_train.data import Dataset, prepare
>>> dataset = Dataset.open(prepare(DataConfig(path=Path("songs.csv"))))  # doctest: +SKIP
"""

from __future__ import annotations

from hvd_train.data.cache import prepare
from hvd_train.data.conversion.converter import convert
from hvd_train.data.dataset import Dataset, Rows
from hvd_train.data.plan import EpochPlan
from hvd_train.data.schema import Schema
from hvd_train.data.sharding import default_num_virtual_shards, nearest_divisors, nearest_multiples, own_shards
from hvd_train.data.sources import TableFormat
from hvd_train.data.statistics import Statistics
from hvd_train.data.unseen import NewRows, read_table_for_prediction

__all__ = [
    "Dataset",
    "EpochPlan",
    "NewRows",
    "Rows",
    "Schema",
    "Statistics",
    "TableFormat",
    "convert",
    "default_num_virtual_shards",
    "nearest_divisors",
    "nearest_multiples",
    "own_shards",
    "prepare",
    "read_table_for_prediction",
]
