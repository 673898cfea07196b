from . import presentation as presentation
from .search import TuneSettings as TuneSettings
from .search import Tuning as Tuning
from .space import DIMENSIONS as DIMENSIONS
from .space import Dimension as Dimension

__all__ = ["DIMENSIONS", "Dimension", "TuneSettings", "Tuning", "presentation"]
