"""The doctor's judgement, and its questions to processes that fail, crash or hang."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from hvd_train.doctor import rules as rules
from hvd_train.doctor.doctor import Diagnosis
from hvd_train.doctor.probes import output_of, probe, run_limited, try_two_ranks
from hvd_train.doctor.rules import Finding

MPIRUN = "mpirun (Open MPI) 4.1.8\n\nReport bugs to ..."
LIBRARY = {"library": "/env/lib/libmpi.so.40", "library_version": "Open MPI v4.1.8, package: x"}


def test_a_diagnosis_counts_and_decides() -> None:
    fine, odd, bad = (
        Finding("ok", "a", "x"),
        Finding("warning", "b", "y", "do this"),
        Finding("error", "c", "z", "do that"),
    )
    assert (Diagnosis((fine,)).exit_code, Diagnosis((fine,)).text.splitlines()[-1]) == (0, "Nothing is wrong here.")
    assert (Diagnosis((fine, odd)).exit_code, Diagnosis((fine, odd)).text.splitlines()[-1]) == (0, "1 warning")
    every = Diagnosis((fine, odd, bad, bad))
    assert (every.exit_code, every.text.splitlines()[-1]) == (1, "2 errors and 1 warning")
    assert "do this" in every.text


@pytest.mark.parametrize(
    ("finding", "level", "words"),
    [
        (rules.judge_python((3, 11), "p"), "ok", "3.11"),
        (rules.judge_python((3, 9), "p"), "error", "PYTHON=python3.11"),
        (rules.judge_python((3, 14), "p"), "error", "3.10 to 3.13"),
        (rules.judge_tensorflow({"tensorflow": "2.21.0", "keras": "3.15.1"}), "ok", "Keras 3.15.1"),
        (rules.judge_tensorflow({"error": "No module"}), "error", "make setup"),
        (rules.judge_horovod({"horovod": "0.28.1", "mpi": True, "gloo": True}), "ok", "mpi yes, gloo yes"),
        (rules.judge_horovod({"horovod": "0.28.1", "mpi": False, "gloo": True}), "error", "built without MPI"),
        (rules.judge_horovod({"error": "No module"}), "error", "make setup"),
        (rules.judge_mpirun(None, ""), "error", "not on PATH"),
        (rules.judge_mpirun("/b/mpirun", MPIRUN), "ok", "4.1.8 (/b/mpirun)"),
        (rules.judge_mpirun("/b/mpirun", "mpirun (Open MPI) 5.0.11"), "warning", "Executable: none"),
        (rules.judge_mpirun("/b/mpirun", "HYDRA build details"), "warning", "not Open MPI"),
        (rules.judge_mpirun("/b/mpirun", ""), "warning", "says nothing"),
        (rules.judge_library("Horovod", LIBRARY, MPIRUN), "ok", "linked to Open MPI 4.1.8"),
        (rules.judge_library("Horovod", LIBRARY, "mpirun (Open MPI) 4.1.4"), "error", "mpirun is 4.1.4"),
        (rules.judge_mpi4py({"mpi4py": "4.1.2"}), "ok", "4.1.2"),
        (rules.judge_mpi4py({"error": "libmpi.so.40: cannot open"}), "error", "libmpi.so.40"),
        (rules.judge_cores(8, None), "ok", "8"),
        (rules.judge_cores(8, 1.5), "warning", "no more than 1 ranks"),
        (rules.judge_memory(8000, None), "ok", "7.81 GiB available"),
        (
            rules.judge_memory(8000, 1000),
            "warning",
            "1000.0 MiB available (the limit of this job or container is 1000.0 MiB)",
        ),
        (rules.judge_shm(64), "warning", "--shm-size=1g"),
        (rules.judge_shm(None), "warning", "not there"),
        (rules.judge_shm(1000), "ok", "1000.0 MiB"),
        (rules.judge_name("h", None), "error", "/etc/hosts"),
        (rules.judge_name("h", "127.0.1.1"), "warning", "its own address"),
        (rules.judge_name("h", "10.0.0.7"), "ok", "10.0.0.7"),
        (rules.judge_interfaces(["eth0"]), "ok", "eth0"),
        (rules.judge_interfaces(["eth0", "docker0", "virbr0"]), "warning", "btl_tcp_if_exclude lo,docker0,virbr0"),
        (rules.judge_trial(0, "the sum is 3\n", 60), "ok", "1 and 2 to 3"),
        (rules.judge_trial(0, "", 60), "error", "exit code 0"),
        (rules.judge_trial(1, "----\nno network", 60), "error", "no network"),
        (rules.judge_trial(None, "", 60), "error", "within 60 s"),
    ],
)
def test_each_finding_has_its_level_and_its_way_out(finding: Finding, level: str, words: str) -> None:
    assert finding.level == level
    assert words in str(finding)
    assert bool(finding.way_out) == (level != "ok")


def test_a_library_that_is_not_known_is_no_finding() -> None:
    assert rules.judge_library("Horovod", {"error": "x"}, MPIRUN) is None


def test_what_a_probe_did_not_come_to_is_an_error_with_the_reason() -> None:
    assert probe("print('noise'); print('{\"a\": 1}')") == [{"a": 1}]
    assert probe("print('{\"a\": 1}', flush=True); import no_such", answers=2) == [
        {"a": 1},
        {"error": "ModuleNotFoundError: No module named 'no_such'"},
    ]
    (crashed,) = probe("import os; os.abort()")
    assert crashed["error"].startswith("it crashed (SIGABRT)")
    assert probe("import time; time.sleep(60)", limit_s=0.3) == [{"error": "no answer within 0.3 s"}]


def test_a_limit_ends_the_whole_group() -> None:
    began = time.monotonic()
    code, out, _ = run_limited(["sh", "-c", "echo here; sleep 60; echo never"], 0.3)
    assert (code, out) == (None, "here\n")
    assert time.monotonic() - began < 3
    assert run_limited(["/no/such/program"], 1)[0] == 127
    assert output_of([sys.executable, "-c", "import sys; sys.exit('said')"]) == "said\n"


def test_a_trial_that_hangs_is_told(tmp_path: Path) -> None:
    mpirun = tmp_path / "mpirun"
    mpirun.write_text("#!/bin/sh\nsleep 60\n")
    mpirun.chmod(0o755)
    finding = rules.judge_trial(*try_two_ranks(str(mpirun), limit_s=0.3))
    assert "did not add 1 and 2 within 0.3 s" in finding.found


def test_the_engine_without_mpi_is_told_where_tensorflow_is() -> None:
    assert rules.judge_tensorflow_engine({"error": "no module"}) is None
    can = rules.judge_tensorflow_engine({"tensorflow": "2.21.0", "collectives": True})
    assert can is not None
    assert (can.level, "hvd-train launch" in can.found) == ("ok", True)
    cannot = rules.judge_tensorflow_engine({"tensorflow": "9.0.0", "collectives": False})
    assert cannot is not None
    assert cannot.level == "warning"
