"""The settings of a run: typed, frozen, checked once, saved with the run as config.toml."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
