"""The command line: one verb, one function. It turns errors into exit codes and is the only place that prints."""

from hvd_train.cli.verbs import main

__all__ = ["main"]
