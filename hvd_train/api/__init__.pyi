from .inference import evaluate as evaluate
from .inference import load as load
from .inference import predict as predict
from .training import train as train
from .world import open_world as open_world

__all__ = ["evaluate", "load", "open_world", "predict", "train"]
