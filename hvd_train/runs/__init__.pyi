from . import checkpoint as checkpoint
from .checkpoint import Checkpoint as Checkpoint
from .directory import RunDir as RunDir
from .directory import held as held
from .directory import latest_run as latest_run
from .directory import new_run_dir as new_run_dir
from .directory_lock import occupied as occupied
from .guard import guarded as guarded
from .guard import how_stopped as how_stopped
from .guard import last_checkpoint_line as last_checkpoint_line
from .provenance import git_state as git_state
from .provenance import versions as versions
from .report import EVALUATED_SPLITS as EVALUATED_SPLITS
from .report import Report as Report
from .report import write_report as write_report
from .trackers import Tracker as Tracker
from .trackers import make_trackers as make_trackers
from .trackers import require_trackers as require_trackers
from .training_state import TrainingState as TrainingState

__all__ = [
    "EVALUATED_SPLITS",
    "Checkpoint",
    "Report",
    "RunDir",
    "Tracker",
    "TrainingState",
    "checkpoint",
    "git_state",
    "guarded",
    "held",
    "how_stopped",
    "last_checkpoint_line",
    "latest_run",
    "make_trackers",
    "new_run_dir",
    "occupied",
    "require_trackers",
    "versions",
    "write_report",
]
