from .doctor import diagnose as diagnose

__all__ = ["diagnose"]
