"""mpiexec of MPICH and of Intel MPI, which both are Hydra.

Its ranks are found, but a Horovod that was built with Open MPI does not join them: each would train alone. The Horovod
engine compares what this file says with what Horovod sees, and refuses.
"""

from __future__ import annotations

from collections.abc import Mapping

from hvd_train.distributed.launchers.base import Launcher, placement_of
from hvd_train.distributed.placement import Placement

# A variable that Hydra sets, and Slurm does not.
HYDRA = "MPI_LOCALNRANKS"


class HydraMpiexec(Launcher):
    name = "mpiexec"
    rank_variable = "PMI_RANK"
    job_variables = ("PMI_JOBID",)

    def detect(self, environment: Mapping[str, str], host: str) -> Placement | None:
        # srun --mpi=pmi2 sets the first two as well.
        of_srun = [environment.get(key, "") for key in ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")]
        if of_srun == [environment.get(key) for key in ("PMI_RANK", "PMI_SIZE")] and not environment.get(HYDRA):
            return None
        keys = ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS")
        return placement_of(self.name, host, *(environment.get(key, "") for key in keys))

    def has_bound_cores(self, environment: Mapping[str, str]) -> bool:
        """Intel MPI does, and says so."""
        return bool(environment.get("I_MPI_PIN_INFO"))
