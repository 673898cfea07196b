"""The world of a Python program: opened by the first call that needs it, and left when the program ends.

MPI starts once a process, so all calls of a program share one world.
"""

from __future__ import annotations

import atexit
import sys
from types import TracebackType

from hvd_train.config import DistributedConfig, TrainingConfig
from hvd_train.distributed import World, end_block, end_continued, ending_of
from hvd_train.distributed import open_world as _open_world
from hvd_train.errors import ToBeContinued, UserError

# The one world of this process, once it is open.
_opened: list[World] = []


def open_world(config: DistributedConfig | None = None, *, watchdog_s: float | None = None) -> World:
    """Join the ranks that a launcher started, or begin with one rank where there is no launcher. All ranks.

        with hvd_train.open_world() as world:
            print(f"rank {world.rank} of {world.size}")

    Call it before TensorFlow or Keras is imported: cores and threads are set when they load. `train`, `evaluate` and
    `predict` open the world themselves, so it is needed only where your own code asks for ranks. Every later call
    returns the same world.

    Args:
        config: how ranks share the machine and exchange gradients; by default what suits this machine.
        watchdog_s: seconds to wait for ranks that do not come, before the job ends.

    Raises:
        MissingEnvironment: several ranks were started, and Horovod or its MPI is missing.
        UserError: the world of this process was closed before.
    """
    if _opened:
        if _opened[0].is_closed:
            raise UserError(
                "The ranks of this program were closed before (the block of `with open_world()` has ended), and MPI starts "
                "once a process. Do all work inside the block, or leave the `with` out."
            )
        return _opened[0]
    world = _open_world(config, watchdog_s=TrainingConfig().watchdog_s if watchdog_s is None else watchdog_s)
    _opened.append(world)
    if world.size > 1:
        atexit.register(world.close)
    _end_the_job_on_errors(world)
    return world


def _end_the_job_on_errors(world: World) -> None:
    """An error that nobody catches ends all ranks. Otherwise the others would wait for this one in a collective.

    `ToBeContinued` is no defect: its message and its code end one rank, too. Not at a prompt, which goes on after errors.
    """
    shown = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, ToBeContinued) and not world.is_closed and not hasattr(sys, "ps1"):
            # With several ranks it does not return.
            raise SystemExit(end_continued(world.placement, error, world.close))
        ending = ending_of(error, world.placement)
        if ending.code and not world.is_closed:
            end_block(world.placement, ending)
        shown(kind, error, trace)

    sys.excepthook = hook
