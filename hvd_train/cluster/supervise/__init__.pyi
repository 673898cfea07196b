from .allocation import Allocation as Allocation
from .allocation import find_allocation as find_allocation
from .allocation import rank_count as rank_count
from .allocation import refuse_too_few as refuse_too_few
from .command import environment as environment
from .command import program as program
from .here import here as here
from .policy import Rules as Rules
from .supervisor import Options as Options
from .supervisor import Supervisor as Supervisor
from .task import Task as Task
from .task import Verb as Verb
from .watch import Patience as Patience

__all__ = [
    "Allocation",
    "Options",
    "Patience",
    "Rules",
    "Supervisor",
    "Task",
    "Verb",
    "environment",
    "find_allocation",
    "here",
    "program",
    "rank_count",
    "refuse_too_few",
]
