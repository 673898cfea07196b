"""hvd_train: train 1-D convolutional networks on tables of numbers with Horovod, Open MPI and Keras 3.

Nothing is imported here, so that `import hvd_train` and `hvd-train --help` answer at once.
"""

__version__ = "0.1.0"
