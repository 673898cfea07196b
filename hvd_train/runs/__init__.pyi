from . import checkpoint as checkpoint
from . import job_history as job_history
from . import user_code as user_code
from .checkpoint import Checkpoint as Checkpoint
from .choose import JOB_MARK as JOB_MARK
from .choose import Stage as Stage
from .choose import latest_run as latest_run
from .choose import named_after_job as named_after_job
from .choose import new_run_dir as new_run_dir
from .choose import stage_of as stage_of
from .directory import JobDir as JobDir
from .directory import RunDir as RunDir
from .directory_lock import holder as holder
from .directory_lock import in_use as in_use
from .directory_lock import lock_directory as lock_directory
from .directory_lock import not_writable as not_writable
from .ensemble_report import EnsembleReport as EnsembleReport
from .ensemble_report import read_ensemble_report as read_ensemble_report
from .ensemble_report import times_of as times_of
from .ensemble_report import write_ensemble_page as write_ensemble_page
from .ensemble_report import write_ensemble_report as write_ensemble_report
from .guard import guarded as guarded
from .guard import how_stopped as how_stopped
from .guard import last_checkpoint_line as last_checkpoint_line
from .history_file import HistoryFile as HistoryFile
from .history_file import write_history as write_history
from .overview import RunState as RunState
from .overview import RunSummary as RunSummary
from .overview import summaries as summaries
from .overview import summary_of as summary_of
from .page import comparison_page as comparison_page
from .progress import Progress as Progress
from .progress import ProgressFile as ProgressFile
from .progress import read_progress as read_progress
from .provenance import git_state as git_state
from .provenance import job_state as job_state
from .provenance import versions as versions
from .report import EVALUATED_SPLITS as EVALUATED_SPLITS
from .report import Report as Report
from .report import read_report as read_report
from .report import write_page as write_page
from .report import write_report as write_report
from .run_lock import lock_run_dir as lock_run_dir
from .trackers import ScalarTracker as ScalarTracker
from .trackers import Tracker as Tracker
from .trackers import TrackerCallback as TrackerCallback
from .trackers import Trackers as Trackers
from .trackers import make_trackers as make_trackers
from .trackers import require_trackers as require_trackers
from .training_state import TrainingState as TrainingState

__all__ = [
    "EVALUATED_SPLITS",
    "JOB_MARK",
    "Checkpoint",
    "EnsembleReport",
    "HistoryFile",
    "JobDir",
    "Progress",
    "ProgressFile",
    "Report",
    "RunDir",
    "RunState",
    "RunSummary",
    "ScalarTracker",
    "Stage",
    "Tracker",
    "TrackerCallback",
    "Trackers",
    "TrainingState",
    "checkpoint",
    "comparison_page",
    "git_state",
    "guarded",
    "holder",
    "how_stopped",
    "in_use",
    "job_history",
    "job_state",
    "last_checkpoint_line",
    "latest_run",
    "lock_directory",
    "lock_run_dir",
    "make_trackers",
    "named_after_job",
    "new_run_dir",
    "not_writable",
    "read_ensemble_report",
    "read_progress",
    "read_report",
    "require_trackers",
    "stage_of",
    "summaries",
    "summary_of",
    "times_of",
    "user_code",
    "versions",
    "write_ensemble_page",
    "write_ensemble_report",
    "write_history",
    "write_page",
    "write_report",
]
