from .forward import FORWARD_BATCH as FORWARD_BATCH
from .forward import forward_pass as forward_pass
from .heads import Head as Head
from .heads import HeadSpec as HeadSpec
from .inputs import PREPARED as PREPARED
from .inputs import InputSpec as InputSpec
from .losses import TrainLoss as TrainLoss
from .members import loss_of as loss_of
from .members import predicted as predicted
from .network import BODIES as BODIES
from .network import build as build
from .network import require_network as require_network
from .network import split as split
from .objectives import DEFAULT as DEFAULT
from .objectives import DEFAULT_OF_VALUES as DEFAULT_OF_VALUES
from .objectives import OBJECTIVES as OBJECTIVES
from .objectives import LossSettings as LossSettings
from .objectives import Objective as Objective
from .objectives import ProbabilityObjective as ProbabilityObjective
from .objectives import ValueObjective as ValueObjective
from .objectives import objective as objective
from .objectives import objective_for as objective_for
from .objectives import point_objective as point_objective
from .seeds import generator_states as generator_states
from .seeds import part_from_root as part_from_root
from .series.networks import SERIES_BODIES as SERIES_BODIES
from .transforms import Fit as Fit
from .transforms import is_fitted as is_fitted

__all__ = [
    "BODIES",
    "DEFAULT",
    "DEFAULT_OF_VALUES",
    "FORWARD_BATCH",
    "OBJECTIVES",
    "PREPARED",
    "SERIES_BODIES",
    "Fit",
    "Head",
    "HeadSpec",
    "InputSpec",
    "LossSettings",
    "Objective",
    "ProbabilityObjective",
    "TrainLoss",
    "ValueObjective",
    "build",
    "forward_pass",
    "generator_states",
    "is_fitted",
    "loss_of",
    "objective",
    "objective_for",
    "part_from_root",
    "point_objective",
    "predicted",
    "require_network",
    "split",
]
