"""Two batch jobs on one host without cpusets, by their environment: neither may bind itself to the cores of the other."""

from __future__ import annotations

import json
import os

import pytest
from processes import mpirun, run

SHOW = """
import json, os
from hvd_train.distributed import open_world
with open_world() as world:
    print("SEEN", json.dumps([sorted(os.sched_getaffinity(0)), world.settings.num_threads, world.settings.describe()]), flush=True)
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_a_job_of_one_cpu_may_run_on_any_and_has_one_thread() -> None:
    job = {"PBS_JOBID": "7.head", "NCPUS": "1"}
    for binding in ([], ["--bind-to", "none"]):
        done = run(mpirun(1, *binding, "python", "-c", SHOW), timeout_s=90, env=job)
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("SEEN ")]
        cpus, threads, said = json.loads(line.removeprefix("SEEN "))
        assert cpus == sorted(os.sched_getaffinity(0))
        assert threads == 1
        assert "the batch job has 1 of the" in said
