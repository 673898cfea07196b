"""The errors a user can meet, and the exit codes they end the program with.

Each message says what was given, the rule, and the way out, in one paragraph. `hvd_train.cli.verbs` prints it without a
traceback. Anything that is not one of these is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

TO_BE_CONTINUED = 85
"""The exit code of a run that saved a checkpoint after a warning and ended before it was complete. It can be resumed."""


class HvdTrainError(Exception):
    """Base of all our errors."""

    exit_code = 1


class ToBeContinued(HvdTrainError):
    """The run ended early because it was warned, on every rank alike. Everything that was done is saved, if anything was.

    Its text has two parts: what happened, and how to go on.
    """

    exit_code = TO_BE_CONTINUED

    def __init__(self, what: str, how_to_go_on: str) -> None:
        super().__init__(what, how_to_go_on)
        self.what, self.how_to_go_on = what, how_to_go_on

    def __str__(self) -> str:
        return f"{self.what} {self.how_to_go_on}"


class UserError(HvdTrainError):
    """Something that was given does not fit. Raised alike on every rank, so that no rank waits for another."""

    exit_code = 2


class ConfigError(UserError):
    """A setting is unknown, of the wrong type, or impossible. The message names its key."""


class DataError(UserError):
    """A file of data cannot be used. The message names the file and, where there is one, the line and the column."""


class CheckpointError(UserError):
    """A checkpoint cannot be loaded, or belongs to another experiment."""


class HostfileError(UserError):
    """A hostfile cannot be used. The message names the file and the line."""


class MissingEnvironment(UserError):
    """Horovod, MPI or another part of the environment is missing. The message says how to get it."""

    exit_code = 3


class UnusableLauncher(UserError):
    """The ranks were started in a way in which MPI cannot join them. All ranks see it before MPI starts."""

    exit_code = 3


class RankFailure(HvdTrainError):
    """Another rank failed or fell silent, and this one cannot go on without it."""

    exit_code = 4
