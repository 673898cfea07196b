"""The Python interface: what `hvd_train.train` and its neighbours do. It opens the ranks, watches them, shows progress."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
