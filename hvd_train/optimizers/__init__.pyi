from .factory import make_optimizer as make_optimizer
from .factory import make_schedule as make_schedule
from .learning_rate import scaled_learning_rate as scaled_learning_rate

__all__ = ["make_optimizer", "make_schedule", "scaled_learning_rate"]
