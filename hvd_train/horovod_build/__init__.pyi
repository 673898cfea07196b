from .install import install_horovod as install_horovod
from .installed import ADDED_VARIABLES as ADDED_VARIABLES
from .installed import IDLE_CYCLE_TIME as IDLE_CYCLE_TIME
from .installed import SHARED_MEMORY as SHARED_MEMORY
from .installed import TWO_LEVELS as TWO_LEVELS
from .installed import WIRE_PRECISION as WIRE_PRECISION
from .installed import added_variables as added_variables
from .messages import BuildError as BuildError
from .mpi import MpiChoice as MpiChoice
from .status import Line as Line
from .status import horovod_status as horovod_status

__all__ = [
    "ADDED_VARIABLES",
    "IDLE_CYCLE_TIME",
    "SHARED_MEMORY",
    "TWO_LEVELS",
    "WIRE_PRECISION",
    "BuildError",
    "Line",
    "MpiChoice",
    "added_variables",
    "horovod_status",
    "install_horovod",
]
