"""report.html: a run, or several beside each other, as one file that a browser shows without any other."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
