"""The networks, each a function of its typed config, with their inputs, heads and losses."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
