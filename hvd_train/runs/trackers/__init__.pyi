from .base import Tracker as Tracker
from .choice import TRACKERS as TRACKERS
from .choice import make_trackers as make_trackers
from .choice import require_trackers as require_trackers

__all__ = [
    "TRACKERS",
    "Tracker",
    "make_trackers",
    "require_trackers",
]
