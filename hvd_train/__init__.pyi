from .api import evaluate as evaluate
from .api import load as load
from .api import open_world as open_world
from .api import predict as predict
from .api import train as train
from .config import RunConfig as RunConfig
from .config import recipe as recipe
from .data import Dataset as Dataset
from .errors import ToBeContinued as ToBeContinued
from .events import Observer as Observer
from .runs import Report as Report

__version__: str

__all__ = [
    "Dataset",
    "Observer",
    "Report",
    "RunConfig",
    "ToBeContinued",
    "evaluate",
    "load",
    "open_world",
    "predict",
    "recipe",
    "train",
]
