from . import jobs as jobs
from .cgroups import cpu_quota as cpu_quota
from .cgroups import memory_limit as memory_limit
from .ending import end_process as end_process
from .ending import leave as leave
from .launcher import PATIENCE_S as PATIENCE_S
from .launcher import end_launcher as end_launcher
from .launcher import is_launcher_command as is_launcher_command
from .memory import KILLED as KILLED
from .memory import MEMORY_RAN_OUT as MEMORY_RAN_OUT
from .memory import OomWatch as OomWatch
from .memory import oom_kills as oom_kills
from .memory import ran_out as ran_out
from .orphan import watch_horovodrun as watch_horovodrun
from .signals import GRACE_S as GRACE_S
from .signals import Stopped as Stopped
from .signals import stop_handler as stop_handler

__all__ = [
    "GRACE_S",
    "KILLED",
    "MEMORY_RAN_OUT",
    "PATIENCE_S",
    "OomWatch",
    "Stopped",
    "cpu_quota",
    "end_launcher",
    "end_process",
    "is_launcher_command",
    "jobs",
    "leave",
    "memory_limit",
    "oom_kills",
    "ran_out",
    "stop_handler",
    "watch_horovodrun",
]
