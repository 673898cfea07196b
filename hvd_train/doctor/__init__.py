"""What is wrong with this machine or cluster, and how to mend it. Never imports TensorFlow or Horovod."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
