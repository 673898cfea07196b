"""hvd_train: train 1-D convolutional networks on tables of numbers with Horovod, Open MPI and Keras 3.

    import hvd_train

    report = hvd_train.train("songs.csv")
    scores = hvd_train.evaluate("runs/songs", "new-songs.csv")

Names are loaded when they are used, so that `import hvd_train` and `hvd-train --help` answer at once, and so that
`train` can set threads and cores before TensorFlow loads.
"""

import lazy_loader

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
