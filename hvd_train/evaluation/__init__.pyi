from . import published_results as published_results
from . import tables as tables
from .baseline import TrainLabels as TrainLabels
from .baseline import describe_baselines as describe_baselines
from .baseline import log_frequency as log_frequency
from .calibration import Infer as Infer
from .calibration import at_temperature as at_temperature
from .evaluate import Evaluation as Evaluation
from .evaluate import LabelledRows as LabelledRows
from .evaluate import evaluate_rows as evaluate_rows
from .evaluate import fitted_temperature as fitted_temperature
from .evaluate import metrics_of as metrics_of
from .metric import Metric as Metric
from .metrics import MONITORS as MONITORS
from .metrics import MetricSet as MetricSet
from .metrics import is_known as is_known
from .metrics import metric_named as metric_named
from .metrics import verdict as verdict
from .output_spec import OutputSpec as OutputSpec
from .output_spec import medians as medians
from .output_spec import softmax as softmax
from .own_metrics import metric_set as metric_set
from .predictions import Predictions as Predictions
from .tables import TextTable as TextTable

__all__ = [
    "MONITORS",
    "Evaluation",
    "Infer",
    "LabelledRows",
    "Metric",
    "MetricSet",
    "OutputSpec",
    "Predictions",
    "TextTable",
    "TrainLabels",
    "at_temperature",
    "describe_baselines",
    "evaluate_rows",
    "fitted_temperature",
    "is_known",
    "log_frequency",
    "medians",
    "metric_named",
    "metric_set",
    "metrics_of",
    "published_results",
    "softmax",
    "tables",
    "verdict",
]
