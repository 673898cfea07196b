from . import recipes as recipes
from . import toml as toml
from .reference import absolute as absolute
from .reference import is_reference as is_reference
from .reference import require_form as require_form
from .reference import resolve as resolve
from .schema import SPLITS as SPLITS
from .schema import DataConfig as DataConfig
from .schema import DistributedConfig as DistributedConfig
from .schema import ModelConfig as ModelConfig
from .schema import ObjectiveConfig as ObjectiveConfig
from .schema import OptimizerConfig as OptimizerConfig
from .schema import RunConfig as RunConfig
from .schema import Split as Split
from .schema import TrainingConfig as TrainingConfig
from .schema import parse_layout as parse_layout
from .schema import require as require
from .text_options import NAMED_DELIMITERS as NAMED_DELIMITERS

__all__ = [
    "NAMED_DELIMITERS",
    "SPLITS",
    "DataConfig",
    "DistributedConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "RunConfig",
    "Split",
    "TrainingConfig",
    "absolute",
    "is_reference",
    "parse_layout",
    "recipes",
    "require",
    "require_form",
    "resolve",
    "toml",
]
