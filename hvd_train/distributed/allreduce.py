"""The variables that choose how Horovod adds gradients: by an algorithm of Open MPI, in shared memory, or in two levels. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from hvd_train.config import DistributedConfig
from hvd_train.horovod_build import SHARED_MEMORY, TWO_LEVELS, WIRE_PRECISION

# Open MPI's numbers of its tuned component's allreduce algorithms (ompi_info --param coll tuned --level 9).
ALLREDUCE_ALGORITHMS = {"recursive-doubling": "3", "ring": "4", "segmented-ring": "5", "rabenseifner": "6"}
# Who sets one of them has chosen how gradients are added, and does not want it done in shared memory.
OF_MPI_S_ALLREDUCE = ("OMPI_MCA_coll_tuned_allreduce_algorithm", "HOROVOD_CPU_OPERATIONS")


def why_not_two_levels(environment: Mapping[str, str]) -> str:
    """Why `--allreduce two-levels` does nothing here."""
    found = next((key for key in OF_MPI_S_ALLREDUCE if key in environment), None)
    reason = f"{found} is set and takes precedence" if found else "this Horovod has no two levels"
    return f"gradients go through MPI, not in two levels: {reason}"


def allreduce_variables(automatic: set[str], config: DistributedConfig, *, one_host: bool) -> dict[str, str]:
    """By which algorithm gradients are summed: one of Open MPI's, in memory that the ranks of one host share, or in two levels."""
    if config.allreduce == "two-levels" and not one_host:
        rounded = {} if config.wire_precision == "float32" else {WIRE_PRECISION: config.wire_precision}
        return {TWO_LEVELS: "1"} | rounded
    if config.allreduce not in ("auto", "two-levels"):
        return {
            "OMPI_MCA_coll_tuned_use_dynamic_rules": "1",
            "OMPI_MCA_coll_tuned_allreduce_algorithm": ALLREDUCE_ALGORITHMS[config.allreduce],
        }
    return {SHARED_MEMORY: "1"} if "shared-memory" in automatic and one_host else {}
