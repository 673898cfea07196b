"""Batch schedulers: the job that this process runs in, and the commands of each scheduler. Pure, and low in the order of layers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
