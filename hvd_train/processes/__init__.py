"""Processes: starting ranks, signals, and how a job ends. Never imports TensorFlow or Horovod."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
