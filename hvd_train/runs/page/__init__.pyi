from .document import comparison_page as comparison_page
from .document import run_page as run_page
from .ensemble import ensemble_page as ensemble_page

__all__ = ["comparison_page", "ensemble_page", "run_page"]
