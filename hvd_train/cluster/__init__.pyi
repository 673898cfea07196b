from . import supervise as supervise
from .submit.queue import follow_up as follow_up
from .submit.spec import JobSpec as JobSpec

__all__ = ["JobSpec", "follow_up", "supervise"]
