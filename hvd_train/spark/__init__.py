"""Training and prediction on Spark: `fit`, `to_dataset` and `predict_udf`. It needs `pip install hvd_train[spark]`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
