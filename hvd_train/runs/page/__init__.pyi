from .document import comparison_page as comparison_page
from .document import run_page as run_page

__all__ = ["comparison_page", "run_page"]
