from .base import BatchScheduler as BatchScheduler
from .base import LaunchAgent as LaunchAgent
from .base import Scheduler as Scheduler
from .base import script as script
from .job import Job as Job
from .job import Resources as Resources
from .slurm import Slurm as Slurm
from .table import SCHEDULERS as SCHEDULERS
from .table import detect_job as detect_job
from .table import detect_scheduler as detect_scheduler

__all__ = [
    "SCHEDULERS",
    "BatchScheduler",
    "Job",
    "LaunchAgent",
    "Resources",
    "Scheduler",
    "Slurm",
    "detect_job",
    "detect_scheduler",
    "script",
]
