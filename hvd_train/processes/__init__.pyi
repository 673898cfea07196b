from . import jobs as jobs
from .cgroups import cpu_quota as cpu_quota
from .cgroups import memory_limit as memory_limit
from .ending import end_process as end_process
from .ending import leave as leave
from .ending_early import REASONS as REASONS
from .ending_early import TIME_LIMIT as TIME_LIMIT
from .ending_early import WARNING_SIGNALS as WARNING_SIGNALS
from .ending_early import EarlyEnd as EarlyEnd
from .ending_early import early_end as early_end
from .ending_early import stop_on as stop_on
from .ending_early import time_limit as time_limit
from .launcher import PATIENCE_S as PATIENCE_S
from .launcher import end_launcher as end_launcher
from .launcher import is_launcher_command as is_launcher_command
from .mca_files import mca_settings as mca_settings
from .memory import KILLED as KILLED
from .memory import MEMORY_RAN_OUT as MEMORY_RAN_OUT
from .memory import OomWatch as OomWatch
from .memory import oom_kills as oom_kills
from .memory import ran_out as ran_out
from .orphan import watch_horovodrun as watch_horovodrun
from .signals import ALONE_GRACE_S as ALONE_GRACE_S
from .signals import GRACE_S as GRACE_S
from .signals import STOP_SIGNALS as STOP_SIGNALS
from .signals import Stopped as Stopped
from .signals import name_of as name_of
from .signals import signals_wait as signals_wait
from .signals import stop_handler as stop_handler

__all__ = [
    "ALONE_GRACE_S",
    "GRACE_S",
    "KILLED",
    "MEMORY_RAN_OUT",
    "PATIENCE_S",
    "REASONS",
    "STOP_SIGNALS",
    "TIME_LIMIT",
    "WARNING_SIGNALS",
    "EarlyEnd",
    "OomWatch",
    "Stopped",
    "cpu_quota",
    "early_end",
    "end_launcher",
    "end_process",
    "is_launcher_command",
    "jobs",
    "leave",
    "mca_settings",
    "memory_limit",
    "name_of",
    "oom_kills",
    "ran_out",
    "signals_wait",
    "stop_handler",
    "stop_on",
    "time_limit",
    "watch_horovodrun",
]
