"""The command line: one verb, one function. It turns errors into exit codes, and only this folder prints."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
