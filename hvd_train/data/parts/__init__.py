"""A conversion in parts: rows that lie on several machines become a dataset directory, and no machine holds all of them.

The result is that of `hvd-train data convert` on a file of the same rows in the same order, bit for bit.
"""
