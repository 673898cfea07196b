from . import forms as forms
from .hostfile import Host as Host

__all__ = ["Host", "forms"]
