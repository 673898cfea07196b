"""The variables that choose how Horovod adds gradients: by an algorithm of Open MPI, in shared memory, or in two levels. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from hvd_train.config import DistributedConfig
from hvd_train.horovod_build import SHARED_MEMORY, TWO_LEVELS, WIRE_PRECISION

# Open MPI's numbers of its tuned component's allreduce algorithms (ompi_info --param coll tuned --level 9).
ALLREDUCE_ALGORITHMS = {"recursive-doubling": "3", "ring": "4", "segmented-ring": "5", "rabenseifner": "6"}
# Who sets one of them has chosen how gradients are added, and does not want it done in shared memory.
OF_MPI_S_ALLREDUCE = ("OMPI_MCA_coll_tuned_allreduce_algorithm", "HOROVOD_CPU_OPERATIONS")

# Up to this size Open MPI sends a message over TCP at once, which otherwise ends at 64 KiB: a longer one waits for the answer of
# the receiver, who looks for it only now and then. docs/reference/performance-log.md, Between hosts.
EAGER_LIMIT = "OMPI_MCA_btl_tcp_eager_limit"
# The larger of the two is the room that Open MPI has for a message that comes. It does not look whether the message fits: what one
# rank sends at once, every other must have room for.
MAX_SEND_SIZE = "OMPI_MCA_btl_tcp_max_send_size"
EAGER_BYTES = 2**20
# Which transports Open MPI loads. That over libfabric (`ofi`) has one-sided messages alone, which Horovod never sends, and takes a
# second to end. horovodrun gives a value of its own. docs/reference/performance-log.md, Start and end.
TRANSPORTS, OF_HOROVODRUN = "OMPI_MCA_btl", "^openib"

# What Horovod opens when it starts, in the words of the log.
SHARED = "the memory that the ranks of this host share"
IN_TWO_LEVELS = "the memory that the ranks of a host share, and connections between the hosts"

# docs/reference/performance-log.md, Between hosts: at 1 Gbit/s two groups are faster, from 10 on they are slower.
SLOW_GBIT_PER_S = 4.0


def user_s_allreduce(environment: Mapping[str, str]) -> str | None:
    """The variable by which the user has chosen an allreduce; None without one."""
    return next((key for key in OF_MPI_S_ALLREDUCE if key in environment), None)


def why_not_two_levels(
    environment: Mapping[str, str], added: Collection[str], config: DistributedConfig, rdma: str
) -> str:
    """Why gradients do not go in two levels between hosts, or an empty string. Only for who wants them to.

    `added` are the variables that this Horovod reads; `rdma` is a device of this host that MPI may use, and TCP not.
    """
    if found := user_s_allreduce(environment):
        return f"{found} is set and takes precedence"
    if TWO_LEVELS not in added:
        return "this Horovod has no two levels"
    if config.allreduce == "auto" and rdma:
        return f"MPI may use {rdma}, which can be faster than TCP. --allreduce two-levels takes TCP"
    return ""


def within_reach(
    automatic: set[str], config: DistributedConfig, environment: Mapping[str, str], added: Collection[str], rdma: str
) -> tuple[DistributedConfig, str]:
    """The config without an exchange in two levels where there can be none, and the reason where a user should know it.

    Takes "two-levels" out of `automatic` then.
    """
    wanted = config.allreduce == "two-levels" or config.wire_precision != "float32"
    if takes_two_levels(automatic, config):
        reason = why_not_two_levels(environment, added, config, rdma)
    else:
        reason = "it is not among the automatic settings" if wanted else ""
    if not reason:
        return config, ""
    automatic.discard("two-levels")
    allreduce = "auto" if config.allreduce == "two-levels" else config.allreduce
    return replace(config, allreduce=allreduce, wire_precision="float32"), reason if wanted or rdma else ""


def allreduce_variables(automatic: set[str], config: DistributedConfig, *, one_host: bool) -> dict[str, str]:
    """By which algorithm gradients are summed: one of Open MPI's, in memory that the ranks of one host share, or in two levels."""
    if takes_two_levels(automatic, config) and not one_host:
        rounded = {} if config.wire_precision == "float32" else {WIRE_PRECISION: config.wire_precision}
        return {TWO_LEVELS: "1"} | rounded
    if config.allreduce == "mpi":
        return {}
    if config.allreduce not in ("auto", "two-levels"):
        return {
            "OMPI_MCA_coll_tuned_use_dynamic_rules": "1",
            "OMPI_MCA_coll_tuned_allreduce_algorithm": ALLREDUCE_ALGORITHMS[config.allreduce],
        }
    return {SHARED_MEMORY: "1"} if "shared-memory" in automatic and one_host else {}


def eager_variables(automatic: Collection[str], files: Collection[str], *, one_host: bool) -> dict[str, str]:
    """Up to which size Open MPI sends between hosts at once: also beside two levels, which leave some tensors to it.

    Decided by what is alike on all ranks. Where `files` of this host set the limit (`mca_settings`), other hosts may have
    none: this one keeps its limit, and makes room.
    """
    if "mpi-eager" not in automatic or one_host:
        return {}
    room = {MAX_SEND_SIZE: str(EAGER_BYTES)} if EAGER_LIMIT in files else {}
    return {EAGER_LIMIT: str(EAGER_BYTES)} | room


def transport_variables(given: str | None) -> dict[str, str]:
    """The transports that Open MPI leaves out, beside those that a launcher has left out.

    >>> transport_variables("^openib")
    {'OMPI_MCA_btl': '^openib,ofi'}
    """
    return {TRANSPORTS: f"{given},ofi" if given == OF_HOROVODRUN else "^ofi"}


def own_settings(files: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """What the user has set, in files of Open MPI or in the environment: without what horovodrun sets for everyone."""
    return {**files, **{k: v for k, v in environment.items() if (k, v) != (TRANSPORTS, OF_HOROVODRUN)}}


def groups_for(gbit_per_s: float) -> int:
    """In how many groups gradients leave on links that carry so much: 2 where hiding a part of it gains more than a second exchange costs.

    >>> groups_for(10), groups_for(1)
    (1, 2)
    """
    return 2 if gbit_per_s < SLOW_GBIT_PER_S else 1


def takes_two_levels(automatic: Collection[str], config: DistributedConfig) -> bool:
    """Whether gradients go in two levels between hosts, where they can."""
    return config.allreduce == "two-levels" or (config.allreduce == "auto" and "two-levels" in automatic)


def in_its_place(asked: Sequence[bool], *, one_host: bool, other: str = "MPI") -> tuple[str, str]:
    """What carries gradients where Horovod has opened neither SHARED nor IN_TWO_LEVELS, and why where that was asked for. Pure.

    `asked`: whether each rank asks for it. `other` carries them instead.

    >>> in_its_place([True, False], one_host=False)
    ('MPI', ', not two levels: HOROVOD_TWO_LEVELS is not 1 on rank 1')
    """
    if not any(asked):
        return other, ""
    reason = "a rank could not open what they need. The warning of Horovod at the start has the rank and the reason"
    if not all(asked):
        reason = f"{SHARED_MEMORY if one_host else TWO_LEVELS} is not 1 on rank {list(asked).index(False)}"
    instead_of = "not shared memory" if one_host else "not two levels"
    return other, f", {instead_of}: {reason}"
