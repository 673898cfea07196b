"""Optimizers, and the learning rate as a function of the global batch and the step."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
