from .base import BatchScheduler as BatchScheduler
from .base import LaunchAgent as LaunchAgent
from .base import Scheduler as Scheduler
from .base import script as script
from .job import Job as Job
from .job import Resources as Resources
from .kubernetes import Kubernetes as Kubernetes
from .lsf import Lsf as Lsf
from .manifests import Pods as Pods
from .pbs import Pbs as Pbs
from .sge import GridEngine as GridEngine
from .shares import is_same_host as is_same_host
from .slurm import Slurm as Slurm
from .slurm import expand_counts as expand_counts
from .slurm import expand_hosts as expand_hosts
from .table import SCHEDULERS as SCHEDULERS
from .table import cpus_of_job as cpus_of_job
from .table import detect_job as detect_job
from .table import detect_scheduler as detect_scheduler
from .table import scheduler_named as scheduler_named
from .table import scheduler_of_job as scheduler_of_job
from .table import unused_hosts as unused_hosts

__all__ = [
    "SCHEDULERS",
    "BatchScheduler",
    "GridEngine",
    "Job",
    "Kubernetes",
    "LaunchAgent",
    "Lsf",
    "Pbs",
    "Pods",
    "Resources",
    "Scheduler",
    "Slurm",
    "cpus_of_job",
    "detect_job",
    "detect_scheduler",
    "expand_counts",
    "expand_hosts",
    "is_same_host",
    "scheduler_named",
    "scheduler_of_job",
    "script",
    "unused_hosts",
]
