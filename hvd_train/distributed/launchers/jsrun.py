"""jsrun of IBM's Job Step Manager, on Summit and its like. Read in its documentation: nobody has run it here yet."""

from __future__ import annotations

from collections.abc import Mapping

from hvd_train.distributed.launchers.base import Launcher, placement_of
from hvd_train.distributed.placement import Placement


class Jsrun(Launcher):
    """The tasks of a resource set. Their MPI is a kind of Open MPI, so they have the variables of mpirun, too."""

    name = "jsrun"
    rank_variable = "JSM_NAMESPACE_RANK"
    job_variables = ("LSB_JOBID", "JSM_NAMESPACE_ID")

    def detect(self, environment: Mapping[str, str], host: str) -> Placement | None:
        keys = ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")
        values = [environment.get(f"JSM_NAMESPACE_{key}", "") for key in keys]
        # An mpirun that was started in a task of jsrun has ranks of its own.
        of_mpirun = [environment.get(f"OMPI_COMM_WORLD_{key}", "") for key in ("RANK", "SIZE")]
        if any(of_mpirun) and of_mpirun != values[:2]:
            return None
        return placement_of(self.name, host, *values)

    def has_bound_cores(self, environment: Mapping[str, str]) -> bool:
        """A task has the cores of its resource set, or those that -b gives it there."""
        return True
