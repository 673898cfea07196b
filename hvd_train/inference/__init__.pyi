from . import custom_objects as custom_objects
from .batches import batch_predictor as batch_predictor
from .batches import prediction_fields as prediction_fields
from .evaluate import directory_of as directory_of
from .evaluate import evaluate_run as evaluate_run
from .evaluate import evaluate_split as evaluate_split
from .evaluate import metrics_of_run as metrics_of_run
from .export import Trained as Trained
from .export import decoded as decoded
from .export import deployed as deployed
from .export import load_trained as load_trained
from .export import save_model as save_model
from .exported.exporting import Exported as Exported
from .exported.exporting import export_run as export_run
from .exported.requirements import require_exportable as require_exportable
from .predict import predict_columns as predict_columns
from .predict import predict_table as predict_table
from .prediction_files import STANDARD_STREAM as STANDARD_STREAM
from .standard_input import spooled_input as spooled_input

__all__ = [
    "STANDARD_STREAM",
    "Exported",
    "Trained",
    "batch_predictor",
    "custom_objects",
    "decoded",
    "deployed",
    "directory_of",
    "evaluate_run",
    "evaluate_split",
    "export_run",
    "load_trained",
    "metrics_of_run",
    "predict_columns",
    "predict_table",
    "prediction_fields",
    "require_exportable",
    "save_model",
    "spooled_input",
]
