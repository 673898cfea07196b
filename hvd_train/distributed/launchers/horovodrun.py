"""horovodrun with Gloo, which starts the ranks itself. With MPI it turns into mpirun, and the ranks are those of mpirun."""

from __future__ import annotations

from collections.abc import Mapping

from hvd_train.distributed.launchers.base import Launcher, placement_of
from hvd_train.distributed.placement import Placement


class HorovodrunGloo(Launcher):
    name = "horovodrun --gloo"
    rank_variable = "HOROVOD_RANK"
    job_variables = ("HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_GLOO_RENDEZVOUS_PORT")

    def detect(self, environment: Mapping[str, str], host: str) -> Placement | None:
        keys = ("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK", "HOROVOD_LOCAL_SIZE")
        return placement_of(self.name, host, *(environment.get(key, "") for key in keys))
