from . import forms as forms

__all__ = ["forms"]
