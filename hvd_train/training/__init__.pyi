from . import batch_sizes as batch_sizes
from .automatic_defaults import resolve_defaults as resolve_defaults
from .batch_sizes import shards_for_batch as shards_for_batch
from .compile import compile_experiment as compile_experiment
from .ensemble import HOW_TO_GO_ON as HOW_TO_GO_ON
from .ensemble import join_runs as join_runs
from .ensemble import train_members as train_members
from .experiment import Experiment as Experiment
from .input_pipeline import TrainRows as TrainRows
from .input_pipeline import epochs_dataset as epochs_dataset
from .input_pipeline import steady_options as steady_options
from .open_data import open_dataset as open_dataset
from .precision.choice import resolve_precision as resolve_precision
from .rehearsal.dry_run import dry_run as dry_run
from .run import train_and_evaluate as train_and_evaluate
from .run import train_guarded as train_guarded
from .setup import set_up as set_up

__all__ = [
    "HOW_TO_GO_ON",
    "Experiment",
    "TrainRows",
    "batch_sizes",
    "compile_experiment",
    "dry_run",
    "epochs_dataset",
    "join_runs",
    "open_dataset",
    "resolve_defaults",
    "resolve_precision",
    "set_up",
    "shards_for_batch",
    "steady_options",
    "train_and_evaluate",
    "train_guarded",
    "train_members",
]
