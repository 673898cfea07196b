from . import show as show
from .search import Plan as Plan
from .search import Tuning as Tuning
from .space import DIMENSIONS as DIMENSIONS
from .space import Dimension as Dimension

__all__ = ["DIMENSIONS", "Dimension", "Plan", "Tuning", "show"]
