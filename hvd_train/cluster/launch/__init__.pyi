from .ranks import Launch as Launch
from .ranks import plan_ranks as plan_ranks

__all__ = ["Launch", "plan_ranks"]
