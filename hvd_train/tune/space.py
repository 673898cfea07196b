"""What is tried: the recipe as it is, single changes to it, and in the end the changes that helped together. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from hvd_train.config import RunConfig

Dimension = Literal[
    "np",
    "threads",
    "batch",
    "rate-scaling",
    "cycle-time",
    "fusion",
    "allreduce",
    "groups",
    "compression",
    "passes",
    "precision",
    "autotune",
]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
# A user's variable wins over a config: where it is set, trying the setting would measure the same again.
VARIABLES: dict[str, str] = {
    "threads": "TF_NUM_INTRAOP_THREADS",
    "cycle-time": "HOROVOD_CYCLE_TIME",
    "fusion": "HOROVOD_FUSION_THRESHOLD",
    "allreduce": "OMPI_MCA_coll_tuned_allreduce_algorithm",
    "autotune": "HOROVOD_AUTOTUNE",
}
BASE = "as it is"


@dataclass(frozen=True)
class Candidate:
    """Settings to try: `changes` to the recipe's config by section, on `size` ranks."""

    name: str
    size: int
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dimension: str = ""

    def config(self, base: RunConfig) -> RunConfig:
        return base.replace(**{section: dict(values) for section, values in self.changes.items()})


def singles(
    base: RunConfig,
    *,
    sizes: tuple[int, ...],
    global_batch_size: int,
    has_bfloat16: bool,
    wanted: Collection[str] = DIMENSIONS,
    environment: Mapping[str, str] | None = None,
) -> list[Candidate]:
    """The recipe as it is on the largest of `sizes`, first; then each change by itself.

    `global_batch_size` is what the recipe comes to on the data at hand.
    """
    size = max(sizes)
    found = [Candidate(BASE, size)]

    def add(dimension: Dimension, name: str, size: int = size, **changes: Mapping[str, Any]) -> None:
        kept = (environment or {}).get(VARIABLES.get(dimension, ""))
        if dimension in wanted and kept is None:
            found.append(Candidate(name, size, changes, dimension))

    for other in sizes:
        if other != size:
            add("np", f"{other} rank{'s' if other > 1 else ''}", other)
    batch = global_batch_size
    add("threads", "2 threads a rank", distributed={"threads_per_rank": 2})
    for factor, word in ((2, "twice"), (0.5, "half")):
        other_batch = {"global_batch_size": int(batch * factor), "local_batch_size": None}
        if other_batch["global_batch_size"]:
            add("batch", f"{word} the batch", training=other_batch)
    double = {"global_batch_size": batch * 2, "local_batch_size": None}
    for scaling in ("linear", "sqrt", "none"):
        if scaling != base.optimizer.rate_scaling:
            add(
                "rate-scaling", f"twice the batch, {scaling} rate", training=double, optimizer={"rate_scaling": scaling}
            )
    if size == 1:  # nothing is exchanged
        if has_bfloat16:
            add("precision", "bfloat16", training={"precision": "bfloat16"})
        return found
    for cycle in (0.2, 1.0, 5.0):
        add("cycle-time", f"cycle {cycle:g} ms", distributed={"cycle_time_ms": cycle})
    for fusion in (0.0, 1.0, 128.0):
        add("fusion", f"fusion {fusion:g} MiB", distributed={"fusion_threshold_mb": fusion})
    for algorithm in ("mpi", "recursive-doubling", "ring", "rabenseifner"):
        add("allreduce", f"allreduce {algorithm}", distributed={"allreduce": algorithm})
    for groups in (2, 4):
        add("groups", f"{groups} groups", distributed={"gradient_groups": groups})
    add("compression", "fp16 gradients", distributed={"compression": "fp16"})
    half = {"global_batch_size": batch // 2, "local_batch_size": None}
    add("passes", "2 passes of half the batch", distributed={"backward_passes_per_step": 2}, training=half)
    add("autotune", "Horovod's autotuner", distributed={"autotune": True})
    if has_bfloat16:
        add("precision", "bfloat16", training={"precision": "bfloat16"})
    return found


def together(winners: Iterable[Candidate]) -> Candidate | None:
    """The changes of several candidates in one, the best of each dimension; None where that is nothing new.

    `winners` come best first. What two dimensions both change (the batch) is the better one's.
    """
    taken: dict[str, Candidate] = {}
    fields: set[tuple[str, str]] = set()
    for winner in winners:
        own = {(section, key) for section, values in winner.changes.items() for key in values}
        if winner.dimension and winner.dimension not in taken and not own & fields:
            taken[winner.dimension] = winner
            fields |= own
    if len(taken) < 2:
        return None
    changes: dict[str, dict[str, Any]] = {}
    for winner in taken.values():
        for section, values in winner.changes.items():
            changes.setdefault(section, {}).update(values)
    by_np = taken.get("np")
    size = by_np.size if by_np else next(iter(taken.values())).size
    return Candidate(" + ".join(winner.name for winner in taken.values()), size, changes, "together")
