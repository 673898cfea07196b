"""mpirun of Open MPI 4, under its names mpirun, mpiexec and orterun. Also what a plain horovodrun turns into."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hvd_train.distributed.launchers.base import Launcher, placement_of
from hvd_train.distributed.placement import Placement
from hvd_train.processes import is_launcher_command

# Options with which mpirun writes something between the bytes of its ranks.
TAGS = (b"tag-output", b"timestamp-output", b"xml")
# What mpirun sets for its ranks where it was told how to bind them.
BINDING = (
    "OMPI_MCA_hwloc_base_binding_policy",
    "OMPI_MCA_hwloc_base_cpu_list",
    "OMPI_MCA_hwloc_base_cpu_set",
    "OMPI_MCA_orte_rankfile",
    "OMPI_MCA_rmaps_rank_file_path",
)
MAPPING = "OMPI_MCA_rmaps_base_mapping_policy"
TERMINALS = ("/dev/pts/", "/dev/tty")


class Mpirun(Launcher):
    name = "mpirun"
    rank_variable = "OMPI_COMM_WORLD_RANK"
    job_variables = ("PMIX_NAMESPACE", "OMPI_MCA_orte_jobfam_session_dir")
    ctrl_c_signal = "SIGTERM"

    def detect(self, environment: Mapping[str, str], host: str) -> Placement | None:
        keys = ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")
        return placement_of(self.name, host, *(environment.get(f"OMPI_COMM_WORLD_{key}", "") for key in keys))

    def has_bound_cores(self, environment: Mapping[str, str]) -> bool:
        """It does by default: to a core each for two ranks, to sockets for more."""
        return environment.get("OMPI_MCA_orte_bound_at_launch") == "1"

    def binds_by_default(self, environment: Mapping[str, str]) -> bool:
        """Where no option and no variable says how, it binds by its own rule: from the first core of the host on."""
        asked = any(environment.get(name) for name in BINDING) or "pe=" in environment.get(MAPPING, "").lower()
        return self.has_bound_cores(environment) and not asked

    def is_process(self, command: Sequence[str]) -> bool:
        return is_launcher_command(command)

    def shows_terminal(self, parent: Path) -> bool:
        """Where the parent is an mpirun whose output is a terminal, and which passes bytes on unchanged.

        mpirun gives its local ranks a terminal of their own, whatever its own output is, and horovodrun has it put a tag
        before every line. On another host the parent is mpirun's daemon, which shows nothing.
        """
        try:
            command = parent.joinpath("cmdline").read_bytes()
            shown = os.readlink(parent / "fd" / "1").startswith(TERMINALS)
        except OSError:
            return False
        tagged = any(word in command for word in TAGS)
        return self.is_process(os.fsdecode(command).split("\0")) and shown and not tagged
