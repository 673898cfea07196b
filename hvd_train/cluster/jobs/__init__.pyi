from .cancelling import cancel_runs as cancel_runs
from .following import Follower as Follower
from .following import pod_logs as pod_logs
from .following import print_logs as print_logs
from .found import JobRun as JobRun
from .found import find_runs as find_runs
from .found import selected as selected
from .judged import Status as Status
from .judged import statuses as statuses
from .resuming import resume_runs as resume_runs

__all__ = [
    "Follower",
    "JobRun",
    "Status",
    "cancel_runs",
    "find_runs",
    "pod_logs",
    "print_logs",
    "resume_runs",
    "selected",
    "statuses",
]
