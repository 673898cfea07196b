"""RunConfig: everything that decides an experiment, as frozen typed data that is checked once.

Each section has a file of its own. A field's docstring stands below it and becomes the help of its flag. `None` always
means "chosen for you". What was chosen is logged and saved.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from hvd_train.config.distributed import DistributedConfig
from hvd_train.config.evaluation import EvaluationConfig
from hvd_train.config.model import ModelConfig
from hvd_train.config.objective import ObjectiveConfig
from hvd_train.config.optimizer import OptimizerConfig
from hvd_train.config.sampling import SamplingConfig
from hvd_train.config.split import SplitConfig
from hvd_train.config.table import TableConfig
from hvd_train.config.training import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One experiment. Two runs with equal RunConfigs and equal data are the same experiment at any number of ranks."""

    table: TableConfig = field(default_factory=TableConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def replace(self, **changes: object) -> RunConfig:
        """A copy with fields changed by their section: `config.replace(training=dict(num_epochs=3))`."""
        sections = {
            key: dataclasses.replace(getattr(self, key), **value) if isinstance(value, dict) else value
            for key, value in changes.items()
        }
        return dataclasses.replace(self, **sections)  # type: ignore[arg-type]
