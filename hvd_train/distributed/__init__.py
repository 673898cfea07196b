"""The ranks of a run: which they are, what each has of the machine, and what they do together."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
