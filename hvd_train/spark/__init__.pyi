from .conversion import to_dataset as to_dataset
from .prediction import predict_udf as predict_udf
from .training import fit as fit

__all__ = ["fit", "predict_udf", "to_dataset"]
