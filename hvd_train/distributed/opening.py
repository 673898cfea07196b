"""How a process joins its ranks: settings first, then TensorFlow, then the engine of several ranks."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from hvd_train.config import DistributedConfig, TrainingConfig
from hvd_train.distributed import settings
from hvd_train.distributed.cores import read_machine
from hvd_train.distributed.devices import gpu_of_rank, take_own_gpu
from hvd_train.distributed.engines import choose_engine, load_engine
from hvd_train.distributed.launchers import detect_placement, launcher_of
from hvd_train.distributed.lean_import import lean_import
from hvd_train.distributed.placement import Placement
from hvd_train.distributed.world import World
from hvd_train.errors import UnusableLauncher
from hvd_train.gpus import has_driver, interface_addresses, nccl_variables
from hvd_train.horovod_build import added_variables
from hvd_train.processes import mca_settings, watch_horovodrun
from hvd_train.schedulers import cpus_of_job

logger = logging.getLogger(__name__)
# The second world of a process finds the TensorFlow of the first.
_loaded_by_us = threading.Event()
DEFAULT_WATCHDOG_S = TrainingConfig().watchdog_s


def open_world(
    config: DistributedConfig | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    watchdog_s: float = DEFAULT_WATCHDOG_S,
    lean: bool = False,
) -> World:
    """The world that this process was started in, with the settings that `config` asks for. All ranks.

        with open_world() as world:
            ...

    Call it before anything imports TensorFlow or Keras: cores and threads are set when they load. A rank that does not
    come ends the job after about `watchdog_s` seconds. With `lean`, Keras is imported as a program of ours
    needs it (`lean_import`), not one of the user. Raises MissingEnvironment where Horovod or its
    MPI is missing, and UnusableLauncher where the engine cannot join ranks that were started so.
    """
    environment = os.environ if environment is None else environment
    placement = detect_placement(environment)
    warn_if_late(placement)
    prefix = sys.prefix if (Path(sys.prefix) / "lib" / "libmpi.so.40").exists() else ""
    config = config or DistributedConfig()
    engine = choose_engine(placement, config.engine)
    if placement.launcher and (refusal := launcher_of(placement).refusal(environment, prefix, engine)):
        raise UnusableLauncher(refusal)
    if placement.launcher and placement.local_rank == 0:
        watch_horovodrun()
    # Before numpy: its BLAS starts its threads on import, and those poll for work on this rank's core.
    added = added_variables() if engine == "horovod" else frozenset()
    machine = read_machine(granted=cpus_of_job(environment, placement.host))
    in_files = mca_settings(environment, prefix)
    files = {key: in_files[key] for key in settings.OF_MPI if key in in_files and key not in environment}
    chosen = settings.choose(
        placement, machine, environment, prefix=prefix, added=added, config=config, engine=engine, files=files
    )
    if engine == "horovod" and has_driver() and placement.size > placement.local_size:
        nccl = nccl_variables(environment, interface_addresses())
        chosen = replace(chosen, variables=chosen.variables | nccl)
    settings.apply(chosen)
    # The layers here are TensorFlow's, whatever the user's other projects run on; goes before ~/.keras/keras.json.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    started = time.monotonic()
    _loaded_by_us.set()
    with quiet_stderr(), lean_import() if lean else contextlib.nullcontext():
        import keras  # noqa: F401  (TensorFlow loads it late; its second belongs here, not to the first step)
        import tensorflow as tf
    # Without a driver TensorFlow reports an error from each rank, and one line of the run's own says the same.
    with contextlib.nullcontext() if has_driver() else quiet_stderr():
        own_gpu = take_own_gpu(tf.config, placement.local_rank, config.gpu_memory_mb)
    if chosen.num_threads is not None and settings.INTER_OP in chosen.variables:
        tf.config.threading.set_intra_op_parallelism_threads(chosen.num_threads)
        tf.config.threading.set_inter_op_parallelism_threads(int(chosen.variables[settings.INTER_OP]))
    # Its warnings are for authors of graphs: an ensemble traces one for each of its members, and means to.
    tf.get_logger().setLevel("ERROR")
    world = load_engine(engine)(placement, chosen, watchdog_s=watchdog_s)
    world.gpu = own_gpu.name if own_gpu is not None else None
    world.for_gpus = bool(tf.test.is_built_with_cuda())
    gpu = gpu_of_rank(placement.host, own_gpu, environment)
    world.gpu_memory_mb = config.gpu_memory_mb or gpu.memory_mb
    world.meet_gpus(gpu)
    world.import_seconds = time.monotonic() - started
    return world


def warn_if_late(placement: Placement) -> None:
    """Warn when TensorFlow is there already. Its threads are, too, and keep the cores that they have. Root, once a process."""
    if "tensorflow" in sys.modules and not _loaded_by_us.is_set() and placement.is_root:
        logger.warning(
            "warning: TensorFlow was imported before open_world(), so the settings of threads and cores come too late for it. "
            "Call open_world() before the first import of tensorflow or keras."
        )


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what libraries write to the standard error while they load; show it if the block fails.

    TensorFlow announces its CPU features on import whatever its log level is, once per rank.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            os.dup2(kept, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
