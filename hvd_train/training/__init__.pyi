from .ensemble import HOW_TO_GO_ON as HOW_TO_GO_ON
from .ensemble import join_runs as join_runs
from .ensemble import train_members as train_members
from .pipeline import TrainRows as TrainRows
from .pipeline import epochs_dataset as epochs_dataset
from .pipeline import steady_options as steady_options
from .run import train_and_evaluate as train_and_evaluate
from .run import train_guarded as train_guarded
from .setup import assemble as assemble
from .setup import build as build
from .setup import open_dataset as open_dataset
from .setup import resolve as resolve
from .setup import resolve_precision as resolve_precision

__all__ = [
    "HOW_TO_GO_ON",
    "TrainRows",
    "assemble",
    "build",
    "epochs_dataset",
    "join_runs",
    "open_dataset",
    "resolve",
    "resolve_precision",
    "steady_options",
    "train_and_evaluate",
    "train_guarded",
    "train_members",
]
