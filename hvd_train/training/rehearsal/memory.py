"""About how much memory a rank will need: what it has after its set-up, and what the steps will add. Pure arithmetic.

An estimate. What TensorFlow adds by itself is a round figure, everything else is counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hvd_train.config import SPLITS
from hvd_train.data import own_shards
from hvd_train.models import FORWARD_BATCH
from hvd_train.training.experiment import Experiment

FLOAT32 = 4
# A round figure for what tracing the train step and validation adds on a CPU. tests/launch/cli/test_dry_run.py compares the
# estimate with the peak of a run.
TENSORFLOW_STEP_BYTES = 110 * 2**20


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of one rank."""

    rank: int
    host: str
    at_start: int
    """What the process has after its set-up: Python, TensorFlow, the model and the state of its optimizer."""
    rows: int
    """The rows of its virtual shards, of all splits."""
    steps: int
    """Outputs of layers, gradients and copies for checkpoints."""

    @property
    def total(self) -> int:
        return self.at_start + self.rows + self.steps


def memory_need(experiment: Experiment, *, rank: int, size: int, host: str, at_start: int) -> MemoryNeed:
    """What a rank needs at the highest. Pure."""
    steps = step_bytes(experiment) + (checkpoint_bytes(experiment) if rank == 0 else 0) + TENSORFLOW_STEP_BYTES
    return MemoryNeed(rank, host, at_start, row_bytes(experiment, rank, size), steps)


def row_bytes(experiment: Experiment, rank: int, size: int) -> int:
    """The rows of a rank: of the train split as arrays and as tensors, of the others once. Pure."""
    dataset = experiment.dataset
    shards = own_shards(rank, size, dataset.num_virtual_shards)
    width = FLOAT32 * math.prod(experiment.trained.input_shape[1:])
    plain = FLOAT32 * dataset.schema.num_features
    rows = {split: int(dataset.shard_sizes(split)[shards.start : shards.stop].sum()) for split in SPLITS}
    return int(rows["train"] * (2 * width + plain) + rows["val"] * (width + plain) + rows["test"] * plain)


def step_bytes(experiment: Experiment) -> int:
    """A step keeps the outputs of all layers for the gradients; validation takes larger batches, and keeps few. Pure."""
    outputs = [_outputs(layer) for layer in experiment.trained._flatten_layers() if not hasattr(layer, "layers")]
    local = experiment.batch_sizes.local_batch_size
    step = 2 * FLOAT32 * local * sum(outputs) + 2 * experiment.gradient_bytes
    validation = FLOAT32 * FORWARD_BATCH * sum(sorted(outputs)[-2:])
    return max(step, validation)


def _outputs(layer: Any) -> int:
    """Numbers that a layer puts out for one row."""
    shape = getattr(getattr(layer, "output", None), "shape", None)
    return math.prod(length for length in shape[1:] if length) if shape else 0


def checkpoint_bytes(experiment: Experiment) -> int:
    """A checkpoint, as a file and as the copy that is written while training goes on. Pure."""
    return sum(FLOAT32 * math.prod(variable.shape) for variable in experiment.variables)
