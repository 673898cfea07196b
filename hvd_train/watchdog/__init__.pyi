from .rules import AwakeClock as AwakeClock
from .rules import Limits as Limits
from .watchdog import Watchdog as Watchdog
from .wire import Address as Address

__all__ = ["Address", "AwakeClock", "Limits", "Watchdog"]
