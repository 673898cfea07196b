"""The doctor's questions to other processes: each has a limit, and a crash is an answer."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from hvd_train.processes import name_of, signals_wait

PROBE_LIMIT_S, TRIAL_LIMIT_S = 180.0, 60.0

# Which libmpi a process has loaded, and its version by its own word; MPI allows the question before MPI_Init.
LINKED = """
import ctypes, json, re
from importlib import metadata
def linked():
    maps = open('/proc/self/maps').read()
    found = sorted(set(re.findall(r'(/\\S*/libmpi\\.so\\S*)', maps)))
    if not found: return {}
    text, length = ctypes.create_string_buffer(8192), ctypes.c_int()
    ctypes.CDLL(found[0]).MPI_Get_library_version(text, ctypes.byref(length))
    return {'library': found[0], 'library_version': text.value.decode(errors='replace')}
def say(**answer): print(json.dumps(answer), flush=True)
"""
# One process for both, because TensorFlow takes seconds to load.
TENSORFLOW_AND_HOROVOD = f"""{LINKED}
import tensorflow
from tensorflow.python.ops import collective_ops
built = tensorflow.sysconfig.get_build_info()
packages = {{}}
for name in ('cuDNN', 'NCCL', 'cuBLAS'):
    try: packages[name] = metadata.version(f'nvidia-{{name.lower()}}-cu12')
    except metadata.PackageNotFoundError: pass
say(tensorflow=tensorflow.__version__, keras=metadata.version('keras'), collectives=hasattr(collective_ops, 'all_reduce_v2'),
    cuda_build=bool(built['is_cuda_build']), cuda=built.get('cuda_version'), cudnn=built.get('cudnn_version'), packages=packages,
    gpus=len(tensorflow.config.list_physical_devices('GPU')))
import horovod, horovod.tensorflow as hvd
say(horovod=horovod.__version__, mpi=bool(hvd.mpi_built()), gloo=bool(hvd.gloo_built()), nccl=int(hvd.nccl_built()), **linked())
"""
MPI4PY = f"""{LINKED}
import mpi4py; mpi4py.rc.initialize = False
from mpi4py import MPI
say(mpi4py=mpi4py.__version__, **linked())
"""
# Through mpi4py, which is linked to the same MPI as Horovod (that is compared) and loads in no time.
TRIAL = """
from mpi4py import MPI
total = MPI.COMM_WORLD.allreduce(MPI.COMM_WORLD.Get_rank() + 1)
if MPI.COMM_WORLD.Get_rank() == 0 and MPI.COMM_WORLD.Get_size() == 2: print('the sum is', total, flush=True)
"""


def probe(code: str, *, answers: int = 1, limit_s: float = PROBE_LIMIT_S) -> list[dict[str, Any]]:
    """The objects that a snippet prints as JSON; for those that it did not come to, {"error": why}."""
    ended, out, err = run_limited([sys.executable, "-c", code], limit_s, {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    told = [json.loads(line) for line in out.splitlines() if line.startswith("{")][:answers]
    if ended is None:
        why = f"no answer within {limit_s:g} s"
    elif ended < 0:
        why = f"it crashed ({name_of(-ended)}): was it built for another machine?"
    else:
        why = (err.strip().splitlines() or [f"exit code {ended}"])[-1]
    return told + [{"error": why}] * (answers - len(told))


def output_of(command: Sequence[str], *, limit_s: float = PROBE_LIMIT_S) -> str:
    """What a command says, on standard output or else on standard error."""
    _, out, err = run_limited(command, limit_s)
    return out or err


def try_two_ranks(mpirun: str, *, code: str = TRIAL, limit_s: float = TRIAL_LIMIT_S) -> tuple[int | None, str, float]:
    """Let two ranks add 1 and 2: exit code (None: not in time), output, the limit."""
    env = {**os.environ, "OMPI_MCA_rmaps_base_oversubscribe": "1"}
    if os.geteuid() == 0:
        env |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = [mpirun, "-np", "2", "--bind-to", "none", sys.executable, "-c", code]
    ended, out, err = run_limited(command, limit_s, env)
    return ended, err + out, limit_s


def run_limited(
    command: Sequence[str], limit_s: float, env: dict[str, str] | None = None
) -> tuple[int | None, str, str]:
    """Exit code (None: it took longer and was ended with all its group), standard output, standard error."""
    process: subprocess.Popen[bytes] | None = None
    code: int | None = None
    try:
        with signals_wait():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env,
                start_new_session=True,
            )
        out, err = process.communicate(timeout=limit_s)
        code = process.returncode
    except BaseException as error:
        if process is None:
            if isinstance(error, OSError):
                return 127, "", str(error)
            raise
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
    return code, out.decode(errors="replace"), err.decode(errors="replace")
