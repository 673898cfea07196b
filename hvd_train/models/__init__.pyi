from .forward import forward_pass as forward_pass
from .heads import HeadSpec as HeadSpec
from .heads import says as says
from .inputs import InputSpec as InputSpec
from .losses import HEADS as HEADS
from .losses import TrainLoss as TrainLoss
from .losses import make_loss as make_loss
from .network import BODIES as BODIES
from .network import build as build
from .network import split as split
from .seeds import generator_states as generator_states
from .seeds import part_from_root as part_from_root
from .transforms import Fit as Fit

__all__ = [
    "BODIES",
    "HEADS",
    "Fit",
    "HeadSpec",
    "InputSpec",
    "TrainLoss",
    "build",
    "forward_pass",
    "generator_states",
    "make_loss",
    "part_from_root",
    "says",
    "split",
]
