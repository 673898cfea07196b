"""How the ranks ended, in words. Pure."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from hvd_train.errors import (
    TO_BE_CONTINUED,
    HvdTrainError,
    MissingEnvironment,
    RankFailure,
    ToBeContinued,
    UserError,
)
from hvd_train.processes import name_of
from hvd_train.spark.hub import LOST, Member

GO_ON = "What was done up to the last checkpoint is saved: the same call of `fit` goes on from there."


def error_of(members: Sequence[Member], *, why_stage_failed: str = "") -> HvdTrainError | None:
    """The error of ranks that have ended, or None where all are well.

    The first that failed by itself counts: the others end because of it, and one that was killed before one that says so.
    """
    failed = [member for member in members if member.code]
    failed.sort(key=lambda member: (member.was_asked, (member.code or 0) > 0, member.ended))
    if not failed:
        return None
    unseen = [member for member in failed if member.unseen]
    if unseen:
        return MissingEnvironment(
            f"{unseen[0].place} does not see {unseen[0].unseen}. Choose a run_dir and a place for the dataset that the driver "
            "and all executors reach, such as a folder on NFS."
        )
    own = [member for member in failed if member.code != RankFailure.exit_code]
    first = (own or failed)[0]
    said = next((text for text in map(_error_line, (first, *failed)) if text), "")
    if first.code == UserError.exit_code and said:
        return UserError(said)
    if first.code == MissingEnvironment.exit_code and said:
        return MissingEnvironment(f"{first.place}: {said}")
    if first.code == TO_BE_CONTINUED:
        return ToBeContinued("The run ended early and saved what was done.", GO_ON)
    told = said or (why_stage_failed if first.code == LOST else "")
    if first.code is not None and first.code > 0:
        told = told or "Its last lines: " + " | ".join([*first.tail][-3:])
    elif first.code != LOST:
        told = ""  # the others only tell the same
    told = f" {told.rstrip('.')}." if told else ""
    return RankFailure(f"{first.place} (process {first.pid}) {_how(first.code)}.{told} {GO_ON}")


def _how(code: int | None) -> str:
    if code == LOST:
        return "is gone: the executor on this host died, or its Python worker"
    if code is not None and code < 0:
        memory = ", which is also how the kernel ends a process when memory runs out" if code == -signal.SIGKILL else ""
        return f"was killed by {name_of(-code)}{memory}"
    return f"ended with code {code}"


def _error_line(member: Member) -> str:
    return next((text.removeprefix("error: ") for text in reversed(member.tail) if text.startswith("error: ")), "")
