"""Horovod for this environment: built from its source with our patches, kept in a cache, installed, and proved.

`hvd-train horovod install` and `make setup` run this. README.md says why Horovod is patched. Nothing here imports TensorFlow,
Horovod or MPI into this process, and `python -m hvd_train.horovod_build` needs no other package than lazy-loader.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
