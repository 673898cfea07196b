"""The supervisor of a run: starts its ranks, judges how they ended, and starts them again where that can help.

`policy` decides and is pure. `supervisor` acts. Processes, the clock and the commands of schedulers come through
`surroundings`, so that tests need none of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
