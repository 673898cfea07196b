"""Hyper-parameters: trials that all ranks train together, asked for by Optuna on the root."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
