"""`hvd-train launch`: starts the ranks of the engine tensorflow here and on other hosts, and ends them together."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
