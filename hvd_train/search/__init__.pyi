from . import presentation as presentation
from .space import SPACES as SPACES
from .space import Space as Space
from .space import load_space as load_space
from .space import space_for as space_for
from .study import Trial as Trial
from .study import require_optuna as require_optuna
from .trials import SearchSettings as SearchSettings
from .trials import search as search

__all__ = [
    "SPACES",
    "SearchSettings",
    "Space",
    "Trial",
    "load_space",
    "presentation",
    "require_optuna",
    "search",
    "space_for",
]
