"""Jobs that look after themselves: `hvd-train supervise` (restarts), `submit` (into a queue) and `jobs` (what became of them).

Never imports TensorFlow or MPI: it starts programs that do, and reads the files of their runs. What a scheduler is,
one file each, is `hvd_train.schedulers`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
