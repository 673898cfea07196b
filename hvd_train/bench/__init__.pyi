from . import show as show
from .session import Plan as Plan
from .session import bench as bench
from .session import default_sizes as default_sizes
from .session import with_batch as with_batch
from .show import new_table as new_table
from .trial import run_as_rank as run_as_rank
from .trial import stepper as stepper
from .trial import train_batches as train_batches

__all__ = [
    "Plan",
    "bench",
    "default_sizes",
    "new_table",
    "run_as_rank",
    "show",
    "stepper",
    "train_batches",
    "with_batch",
]
