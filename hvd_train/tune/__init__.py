"""`hvd-train tune`: the most suitable distributed settings for one recipe on this cluster, by trying them.

space.py has what is tried, halving.py how (both pure); rank_program.py runs inside a measured rank; search.py starts the trials
and keeps what is known; presentation.py makes the table, the picture and tuned.toml of it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
