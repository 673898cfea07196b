from .console import ConsoleObserver as ConsoleObserver
from .verbs import main as main

__all__ = ["ConsoleObserver", "main"]
