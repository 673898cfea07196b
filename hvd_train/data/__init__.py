"""Data: from a file to balanced, sharded batches. numpy, pandas, pyarrow and pooch only; never TensorFlow or Horovod.

>>> from hvd_train.config import SplitConfig, TableConfig
>>> from hvd_train.data import Dataset, prepare
>>> dataset = Dataset.open(prepare(TableConfig(path=Path("songs.csv")), SplitConfig()))  # doctest: +SKIP
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
