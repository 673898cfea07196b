"""Data: from a file to balanced, sharded batches. numpy, pandas, pyarrow and pooch only; never TensorFlow or Horovod.

>>> from hvd_train.config.schema import DataConfig
>>> from hvd_train.data import Dataset, prepare
>>> dataset = Dataset.open(prepare(DataConfig(path=Path("songs.csv"))))  # doctest: +SKIP
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
