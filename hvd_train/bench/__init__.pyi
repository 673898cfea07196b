from . import presentation as presentation
from .hosts.measure import require_hosts as require_hosts
from .presentation import new_table as new_table
from .rank_program import run_as_rank as run_as_rank
from .rank_program import stepper as stepper
from .rank_program import train_batches as train_batches
from .session import BenchSettings as BenchSettings
from .session import bench as bench
from .session import default_sizes as default_sizes
from .session import with_batch as with_batch

__all__ = [
    "BenchSettings",
    "bench",
    "default_sizes",
    "new_table",
    "presentation",
    "require_hosts",
    "run_as_rank",
    "stepper",
    "train_batches",
    "with_batch",
]
