"""A run is a directory: its checkpoint, report, pictures, and the lock of whoever writes there."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
