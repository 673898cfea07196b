from . import class_metrics as class_metrics
from . import metrics as metrics
from . import published as published
from .details import Details as Details
from .loop import Infer as Infer
from .loop import at_temperature as at_temperature
from .loop import baseline_of as baseline_of
from .loop import best_possible as best_possible
from .loop import evaluate as evaluate
from .loop import evaluate_in_detail as evaluate_in_detail
from .loop import fitted_temperature as fitted_temperature
from .loop import inference as inference
from .metrics import POINT_LOSSES as POINT_LOSSES
from .metrics import Baseline as Baseline
from .metrics import Labels as Labels
from .metrics import from_sums as from_sums

__all__ = [
    "POINT_LOSSES",
    "Baseline",
    "Details",
    "Infer",
    "Labels",
    "at_temperature",
    "baseline_of",
    "best_possible",
    "class_metrics",
    "evaluate",
    "evaluate_in_detail",
    "fitted_temperature",
    "from_sums",
    "inference",
    "metrics",
    "published",
]
