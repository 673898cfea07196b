"""GPUs: which there are, which one a rank has, and what then carries gradients. Neither TensorFlow nor MPI is loaded."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
