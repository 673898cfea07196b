from .background import Trackers as Trackers
from .base import Beginning as Beginning
from .base import ScalarTracker as ScalarTracker
from .base import Tracker as Tracker
from .callback import TrackerCallback as TrackerCallback
from .choice import TRACKERS as TRACKERS
from .choice import make_trackers as make_trackers
from .choice import require_trackers as require_trackers

__all__ = [
    "TRACKERS",
    "Beginning",
    "ScalarTracker",
    "Tracker",
    "TrackerCallback",
    "Trackers",
    "make_trackers",
    "require_trackers",
]
