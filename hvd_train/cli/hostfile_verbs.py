"""What `hvd-train hostfile` does: check a file, write it for a launcher, print the hosts of a batch job."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hvd_train.cli.arguments import HostfileCheckArguments, HostfileConvertArguments, HostfileJobArguments
from hvd_train.cli.terminal import chosen, parse, tell
from hvd_train.distributed import Placement
from hvd_train.errors import UserError
from hvd_train.hostfiles import forms
from hvd_train.schedulers import scheduler_of_job

VERBS = {
    "check": "the hosts of a file, and which launcher reads it as it is",
    "convert": "write it for one launcher",
    "job": "print the hosts of the batch job that this runs in",
}


def hostfile(argv: Sequence[str], placement: Placement) -> int:
    """Print on the root. Returns the exit code."""
    name, rest = chosen("hostfile", VERBS, argv, placement)
    prog = f"hvd-train hostfile {name}"
    if name == "check":
        text = forms.check(parse(HostfileCheckArguments, rest, placement, prog=prog).hostfile)
    elif name == "convert":
        given = parse(HostfileConvertArguments, rest, placement, prog=prog)
        text = forms.convert(given.hostfile, given.for_)
    else:
        text = job_hostfile(parse(HostfileJobArguments, rest, placement, prog=prog).for_)
    return tell(placement, text.rstrip("\n"))


def job_hostfile(launcher: forms.Launcher) -> str:
    """The hosts of this batch job with their slots, for one launcher. Raises UserError outside of a job."""
    scheduler = scheduler_of_job(os.environ)
    if scheduler is None:
        raise UserError(
            "hvd-train hostfile job prints the hosts of a batch job, and no scheduler started this. "
            "Run it in the script of a job; of other machines write a hostfile: node1 slots=2"
        )
    return forms.write_hostfile(scheduler.hosts(os.environ), launcher=launcher)
