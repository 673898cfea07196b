"""The settings that make a plain `horovodrun` fast, chosen before TensorFlow and Horovod start.

Pure: `choose` looks at the environment, the machine and the config and says what to set; `apply` sets it. A variable
that the user has set is never touched. The effect of each: docs/reference/performance-log.md. None but the number of threads, by
which TensorFlow parts its sums, changes a bit of what is computed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass, replace

from hvd_train.config import DistributedConfig
from hvd_train.distributed.allreduce import (
    EAGER_LIMIT,
    TRANSPORTS,
    allreduce_variables,
    eager_variables,
    own_settings,
    transport_variables,
    user_s_allreduce,
    within_reach,
)
from hvd_train.distributed.cores import Machine, Share, assign_cores, bound_cores, shared_cores
from hvd_train.distributed.launchers import launcher_of
from hvd_train.distributed.placement import Placement
from hvd_train.horovod_build import ADDED_VARIABLES, IDLE_CYCLE_TIME, SHARED_MEMORY, TWO_LEVELS, WIRE_PRECISION

# Milliseconds between two looks of Horovod's background thread at its queue; Horovod's own default is 1.
CYCLE_TIME_MS = 0.2
# The longest that it sleeps while there is nothing to send (hvd_train/horovod_build/patches). It is woken when there is: this is
# how long a shutdown may wait for it.
IDLE_CYCLE_TIME_MS = 50.0
# What is larger is sent from where it lies, without a copy; for what is smaller a copy costs less than a message of its own.
FUSION_THRESHOLD_MB = 1.0
# Every library that multiplies matrices has a pool of its own.
THREAD_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
INTRA_OP, INTER_OP = "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"
# Unless it is 0, TensorFlow makes oneDNN's kernels of a convolution's gradients again each time that they run, to save the
# memory of their buffers.
MAKE_PRIMITIVES_ANEW = "TF_MKL_OPTIMIZE_PRIMITIVE_MEMUSE"
AFFINITY = "the launcher's binding"
YIELD = "OMPI_MCA_mpi_yield_when_idle"
# Files of Open MPI may set these, too.
OF_MPI = (YIELD, EAGER_LIMIT, TRANSPORTS)
NOTHING: Mapping[str, str] = {}
# Of these the user's own is always told, wanted or not: the others depend on it.
TOLD: tuple[str, ...] = ("HOROVOD_AUTOTUNE", "HOROVOD_CYCLE_TIME", IDLE_CYCLE_TIME, "HOROVOD_FUSION_THRESHOLD")
TOLD += (SHARED_MEMORY, TWO_LEVELS, WIRE_PRECISION, YIELD)


@dataclass(frozen=True)
class Settings:
    """What one rank gets. `cores` is None where its affinity stays as it is."""

    cores: tuple[int, ...] | None
    num_threads: int | None
    """Of TensorFlow for one operation; None where that is left to TensorFlow."""
    variables: dict[str, str]
    kept: dict[str, str]
    """What the user or the launcher had set, and that wins."""
    oversubscribed: bool
    switched_off: tuple[str, ...] = ()
    """The automatic settings that were not wanted."""
    quota: float | None = None
    """CPU time, in CPUs, that the cgroup gives to the ranks of this host together."""
    granted: int | None = None
    """CPUs that the batch job was given on this host."""
    notes: tuple[str, ...] = ()
    """What the batch job and the binding of its launcher mean for the cores, in words."""

    def describe(self) -> str:
        """What was set and what was kept, in a line."""
        parts = [f"cores {ranges(self.cores)} for this rank"] if self.cores is not None else []
        # The other pools' threads are as many as TensorFlow's; report.json has them all.
        left_out = {*THREAD_POOLS, INTER_OP, "TF_CPP_MIN_LOG_LEVEL", TRANSPORTS}
        parts += [f"{key}={value}" for key, value in self.variables.items() if key not in left_out]
        text = ", ".join(parts) or "nothing set"
        if self.kept:
            text += "; kept as given: " + ", ".join(f"{key}={value}" for key, value in self.kept.items())
        text += f"; switched off: {', '.join(self.switched_off)}" if self.switched_off else ""
        return "; ".join([text, *self.notes])


def ranges(cpus: tuple[int, ...]) -> str:
    """CPU numbers as Linux writes them.

    >>> ranges((0, 1, 2, 8))
    '0-2,8'
    """
    runs: list[list[int]] = []
    for cpu in cpus:
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def choose(
    placement: Placement,
    machine: Machine,
    environment: Mapping[str, str],
    *,
    prefix: str = "",
    added: Collection[str] = ADDED_VARIABLES,
    config: DistributedConfig | None = None,
    engine: str = "horovod",
    files: Mapping[str, str] = NOTHING,
) -> Settings:
    """Settings for the rank at `placement` on `machine`.

    `prefix` is the environment's root where it holds Open MPI itself; ranks that were started over ssh or from Spark
    die in MPI_Init unless OPAL_PREFIX names it. `added` are those of ADDED_VARIABLES that Horovod reads. Only where
    Horovod is the engine of several ranks its variables are set. `files` are those of OF_MPI that files of Open MPI set
    (`mca_settings`) and `environment` does not.
    """
    config, given = config or DistributedConfig(), environment.get(TRANSPORTS)
    environment = own_settings(files, environment)
    if "HOROVOD_AUTOTUNE" in environment:
        config = replace(config, autotune=environment["HOROVOD_AUTOTUNE"] not in ("", "0"))
    automatic: set[str] = set(config.automatic)
    # `wake` would make the user's own cycle time count for little.
    if IDLE_CYCLE_TIME not in added or "HOROVOD_CYCLE_TIME" in environment or environment.get(IDLE_CYCLE_TIME) == "0":
        automatic.discard("wake")
    if SHARED_MEMORY not in added or user_s_allreduce(environment):
        automatic.discard("shared-memory")
    config, reason = within_reach(automatic, config, environment, added, machine.rdma)
    is_told = engine == "horovod" and placement.local_size < placement.size
    notes = (f"gradients go through MPI, not in two levels: {reason}",) if reason and is_told else ()
    bound = launcher_of(placement).has_bound_cores(environment)
    bound_to = machine.cpus
    if "affinity" in automatic and default_binding_is_wrong(placement, machine, environment):
        bound, machine = False, machine.unbound()
    if machine.is_shared:
        share = shared_cores(machine, placement.local_size)
    elif bound or placement.local_size == 1:
        share = bound_cores(machine, placement.local_size)
    elif "affinity" in automatic:
        share = assign_cores(machine, placement.local_rank, placement.local_size)
    else:
        assigned = assign_cores(machine, placement.local_rank, placement.local_size)
        share = Share(machine.cpus, assigned.num_threads, assigned.oversubscribed)
    has_horovod = placement.size > 1 and engine == "horovod"
    wanted = wanted_variables(placement, share, automatic, config, prefix, has_horovod=has_horovod)
    if has_horovod:
        wanted |= eager_variables(automatic, files, one_host=placement.local_size == placement.size)
        wanted |= transport_variables(given) if "launch" in automatic else {}
    told = (*wanted, *(TOLD if has_horovod else ()))
    found = {key: environment[key] for key in told if key in environment}
    if bound and "affinity" in automatic:
        found[AFFINITY] = f"cores {ranges(machine.cpus)}"
    threads = environment.get(INTRA_OP) or wanted.get(INTRA_OP)
    return Settings(
        cores=None if share.cpus == bound_to else share.cpus,
        num_threads=int(threads) if threads and threads.isdecimal() else None,
        variables={key: value for key, value in wanted.items() if key not in environment},
        kept=found,
        oversubscribed=share.oversubscribed,
        switched_off=tuple(name for name in DistributedConfig().automatic if name not in config.automatic),
        quota=machine.quota,
        granted=machine.granted,
        notes=(*notes_on_binding(placement, machine, share, bound_to, is_bound=bound), *notes),
    )


def default_binding_is_wrong(placement: Placement, machine: Machine, environment: Mapping[str, str]) -> bool:
    """Whether a launcher has bound this rank unasked, in a batch job whose CPUs are known.

    mpirun binds one rank to the first core. Two jobs on one host would share it, and a rank of several CPUs would use one.
    """
    wider = set(machine.launcher_cpus or ()) > set(machine.cpus)
    return machine.granted is not None and wider and launcher_of(placement).binds_by_default(environment)


def notes_on_binding(
    placement: Placement, machine: Machine, share: Share, bound_to: tuple[int, ...], *, is_bound: bool
) -> tuple[str, ...]:
    """Where a rank does not run as it was bound, or has less than its batch job gives."""
    if machine.granted is None:
        return ()
    name = placement.launcher
    notes = []
    if machine.cpus != bound_to != share.cpus:
        notes.append(
            f"the default binding of {name} to cores {ranges(bound_to)} is undone: the batch job has its own CPUs"
        )
    if machine.is_shared:
        notes.append(
            f"the batch job has {machine.granted} of the {len(machine.cpus)} CPUs of this host, so no rank is bound to cores"
        )
    everywhere = machine.launcher_cpus or machine.cpus
    if is_bound and machine.granted < len(everywhere):
        notes.append(
            f"{name} chose the cores, and other jobs on this host may use them, too: start it with --bind-to none"
        )
    elif is_bound and len(machine.cpus) < machine.granted // placement.local_size:
        notes.append(
            f"{name} bound this rank to {len(machine.cpus)} of the {machine.granted // placement.local_size} CPUs that the "
            "batch job gives it: start it with --bind-to none"
        )
    return tuple(notes)


def tensorflow_engine_variables(wanted: Mapping[str, str], automatic: set[str]) -> dict[str, str]:
    """What ranks need that TensorFlow's own collectives join."""
    found = {}
    if INTER_OP in wanted:
        found[INTER_OP] = "2"  # one exchanges a gradient while the other computes the next
    if "quiet" in automatic:
        found["TF_CPP_MIN_LOG_LEVEL"] = "3"  # its collectives report a lost rank at length, which the watchdog names
    return found


def wanted_variables(
    placement: Placement,
    share: Share,
    automatic: set[str],
    config: DistributedConfig,
    prefix: str,
    *,
    has_horovod: bool,
) -> dict[str, str]:
    """All variables to set if the user had set none: the automatic ones, then those that the config asks for."""
    wanted = tensorflow_variables(share, automatic, config)
    if not has_horovod:
        return wanted | (tensorflow_engine_variables(wanted, automatic) if placement.size > 1 else {})
    if config.autotune:
        automatic = automatic - {"cycle-time", "wake", "fusion"}  # autotuning does not search what is set
    one_host = placement.local_size == placement.size
    timing = cycle_variables(automatic, config)
    return (
        wanted
        | ({"HOROVOD_AUTOTUNE": "1"} if config.autotune else {})
        | timing
        | fusion_variables(automatic, config, one_host=one_host)
        | allreduce_variables(automatic, config, one_host=one_host)
        | yield_variables(share, automatic, config, sleeps=IDLE_CYCLE_TIME in timing)
        | (launcher_of(placement).variables(prefix) if "launch" in automatic else {})
    )


def tensorflow_variables(share: Share, automatic: set[str], config: DistributedConfig) -> dict[str, str]:
    """Threads of TensorFlow and of the libraries below it, its convolution kernels, and its log level."""
    wanted: dict[str, str] = {}
    threads = config.threads_per_rank or (share.num_threads if "threads" in automatic else None)
    if threads is not None:
        wanted |= dict.fromkeys((*THREAD_POOLS, INTRA_OP), str(threads)) | {INTER_OP: "1"}
    if "primitives" in automatic:
        wanted[MAKE_PRIMITIVES_ANEW] = "0"
    if "quiet" in automatic:
        wanted["TF_CPP_MIN_LOG_LEVEL"] = "2"  # the notices that TensorFlow prints while it loads; errors stay
    return wanted


def cycle_variables(automatic: set[str], config: DistributedConfig) -> dict[str, str]:
    """How often the background thread of Horovod polls its queue."""
    wanted: dict[str, str] = {}
    cycle_time_ms = config.cycle_time_ms or (CYCLE_TIME_MS if "cycle-time" in automatic else None)
    if cycle_time_ms is not None:
        wanted["HOROVOD_CYCLE_TIME"] = f"{cycle_time_ms:g}"
    if "wake" in automatic and config.cycle_time_ms is None:
        wanted[IDLE_CYCLE_TIME] = f"{IDLE_CYCLE_TIME_MS:g}"
    return wanted


def fusion_variables(automatic: set[str], config: DistributedConfig, *, one_host: bool) -> dict[str, str]:
    """Up to which size Horovod copies tensors together and sends them as one."""
    fusion_mb = config.fusion_threshold_mb
    if fusion_mb is None and "fusion" in automatic and one_host:
        fusion_mb = FUSION_THRESHOLD_MB
    return {} if fusion_mb is None else {"HOROVOD_FUSION_THRESHOLD": str(int(fusion_mb * 2**20))}


def yield_variables(share: Share, automatic: set[str], config: DistributedConfig, *, sleeps: bool) -> dict[str, str]:
    """Whether MPI gives its core to other threads while it waits. `sleeps`: the thread of Horovod sleeps when idle.

    MPI polls, so it must yield on a core where something else computes meanwhile. On a core of the rank's own nothing
    computes while the gradients of one group are exchanged, if the thread of Horovod sleeps until then. There yielding
    would only cost time.
    """
    own_core = share.exclusive and not share.oversubscribed
    needless = own_core and sleeps and config.gradient_groups in (None, 1)
    return {YIELD: "1"} if "mpi-yield" in automatic and not needless else {}


def apply(settings: Settings, environment: MutableMapping[str, str] | None = None) -> None:
    """Set them in this process. Call before TensorFlow is imported: its threads inherit the affinity."""
    (os.environ if environment is None else environment).update(settings.variables)
    if settings.cores is None:
        return
    # numpy's pool may be there already, and each thread has an affinity of its own.
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), settings.cores)
