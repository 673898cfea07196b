from . import recipes as recipes
from . import toml as toml
from .distributed import DistributedConfig as DistributedConfig
from .distributed import Engine as Engine
from .evaluation import EvaluationConfig as EvaluationConfig
from .layout import parse_layout as parse_layout
from .model import ModelConfig as ModelConfig
from .networks import NETWORKS as NETWORKS
from .networks import DeepCnnConfig as DeepCnnConfig
from .networks import DenseStackConfig as DenseStackConfig
from .networks import ExpansiveCnnConfig as ExpansiveCnnConfig
from .networks import InputConfig as InputConfig
from .networks import LinearConfig as LinearConfig
from .networks import MlpConfig as MlpConfig
from .networks import ResidualCnnConfig as ResidualCnnConfig
from .networks import SeedCnnConfig as SeedCnnConfig
from .networks import SeriesNetworkConfig as SeriesNetworkConfig
from .networks import TabmConfig as TabmConfig
from .objective import LOSSES as LOSSES
from .objective import ObjectiveConfig as ObjectiveConfig
from .optimizer import OptimizerConfig as OptimizerConfig
from .options import parse_options as parse_options
from .recipes import recipe as recipe
from .reference import absolute as absolute
from .reference import file_of as file_of
from .reference import is_reference as is_reference
from .reference import reference_to as reference_to
from .reference import require_form as require_form
from .reference import resolve as resolve
from .reference import stand_in as stand_in
from .run import RunConfig as RunConfig
from .sampling import SamplingConfig as SamplingConfig
from .section import require as require
from .split import SPLITS as SPLITS
from .split import Split as Split
from .split import SplitConfig as SplitConfig
from .table import FORMATS_SHOWN as FORMATS_SHOWN
from .table import TableConfig as TableConfig
from .table import is_format as is_format
from .text_options import NAMED_DELIMITERS as NAMED_DELIMITERS
from .training import PATIENCES as PATIENCES
from .training import TRAIN_LOSS as TRAIN_LOSS
from .training import TrainingConfig as TrainingConfig

__all__ = [
    "FORMATS_SHOWN",
    "LOSSES",
    "NAMED_DELIMITERS",
    "NETWORKS",
    "SPLITS",
    "TRAIN_LOSS",
    "DeepCnnConfig",
    "DenseStackConfig",
    "DistributedConfig",
    "Engine",
    "EvaluationConfig",
    "ExpansiveCnnConfig",
    "InputConfig",
    "LinearConfig",
    "MlpConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "ResidualCnnConfig",
    "RunConfig",
    "SamplingConfig",
    "SeedCnnConfig",
    "SeriesNetworkConfig",
    "Split",
    "SplitConfig",
    "TableConfig",
    "TabmConfig",
    "TrainingConfig",
    "absolute",
    "file_of",
    "is_format",
    "is_reference",
    "parse_layout",
    "parse_options",
    "recipe",
    "recipes",
    "reference_to",
    "require",
    "require_form",
    "resolve",
    "stand_in",
    "toml",
]
