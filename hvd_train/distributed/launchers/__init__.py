"""The launchers: what starts the ranks of a run, one file each. A new one is a file and an entry in `LAUNCHERS`.

Nothing is started or loaded here but small pure code, so that it holds before MPI starts and in `--help`.
"""

from hvd_train.distributed.launchers.base import Launcher
from hvd_train.distributed.launchers.table import JOB_VARIABLES, LAUNCHERS, detect_placement, job_of, launcher_of
from hvd_train.distributed.launchers.tf_config import tf_config_of

__all__ = ["JOB_VARIABLES", "LAUNCHERS", "Launcher", "detect_placement", "job_of", "launcher_of", "tf_config_of"]
