"""What the commands of schedulers print: ids, states, reasons and times. Those of Slurm, Grid Engine and PBS were recorded."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hvd_train.errors import UserError
from hvd_train.schedulers import BatchScheduler, GridEngine, Lsf, Pbs, Slurm

SAMPLES = Path(__file__).with_name("samples")
SLURM, PBS, SGE, LSF = Slurm(), Pbs(), GridEngine(), Lsf()
ALL = (SLURM, PBS, SGE, LSF)
FLAGS = ("slurm", "pbs", "sge", "lsf")
QSTAT_F = (SAMPLES / "qstat-f.txt").read_text()
QSTAT_G_D = (SAMPLES / "qstat-xml-g-d.xml").read_text()


@pytest.mark.parametrize(
    ("scheduler", "output", "job_id"),
    [
        (PBS, "11.head\n", "11"),
        (PBS, "11[].head.lab.example\n", "11"),
        (PBS, "Your job was charged to physics\n11.head\n", "11"),
        (SGE, "3\n", "3"),
        (SGE, "3.1-3:1\n", "3"),
        (LSF, "Job <123> is submitted to queue <normal>.\n", "123"),
        (LSF, "Welcome\nJob <123> is submitted to default queue <normal>.\nGood luck\n", "123"),
    ],
)
def test_the_id_of_a_submitted_job(scheduler: BatchScheduler, output: str, job_id: str) -> None:
    assert scheduler.submitted_id(output) == job_id


@pytest.mark.parametrize("scheduler", ALL, ids=FLAGS)
@pytest.mark.parametrize("output", ["", "\n", "queued\n", "-1\n", "12 34\n", "Job <x> is submitted", "1²\n"])
def test_no_id_is_an_error_that_shows_what_was_printed(scheduler: BatchScheduler, output: str) -> None:
    with pytest.raises(UserError, match=f"printed no job id, but: {output.strip() or 'nothing'}"):
        scheduler.submitted_id(output)


@pytest.mark.parametrize(
    ("scheduler", "forms"),
    [
        (SLURM, {"123": ["scancel", "123"], "123_4": ["scancel", "123_4"], "123[4]": ["scancel", "123_4"]}),
        (PBS, {"123": ["qdel", "123"], "123.head": ["qdel", "123"], "123[4].head": ["qdel", "123[4]"]}),
        (PBS, {"123_4": ["qdel", "123[4]"], "123[].head": ["qdel", "123[]"]}),
        (SGE, {"123": ["qdel", "123"], "123_4": ["qdel", "123", "-t", "4"], "123.4": ["qdel", "123", "-t", "4"]}),
        (LSF, {"123": ["bkill", "123"], "123_4": ["bkill", "123[4]"], "123[]": ["bkill", "123"]}),
    ],
)
def test_an_id_is_taken_in_any_form_that_schedulers_print(
    scheduler: BatchScheduler, forms: dict[str, list[str]]
) -> None:
    assert {given: scheduler.cancel_command(given) for given in forms} == forms


@pytest.mark.parametrize("scheduler", ALL, ids=FLAGS)
@pytest.mark.parametrize("given", ["", "abc", "-u root", "12 13", "12_", "12_x", "*", "12;rm", "12[1-3]", "²"])
def test_what_is_no_id_reaches_no_command(scheduler: BatchScheduler, given: str) -> None:
    for make in (scheduler.cancel_command, scheduler.status_command, scheduler.after_option, scheduler.warn_command):
        if make in (SGE.warn_command, SGE.status_command):
            continue  # Grid Engine has no such command, or one that names no job
        with pytest.raises(UserError, match="is no job id"):
            make(given)


def test_the_commands_of_each_scheduler() -> None:
    assert [scheduler.after_option("7_2") for scheduler in ALL] == [
        ["--dependency=afterany:7_2"],
        ["-W", "depend=afterany:7[]"],
        ["-hold_jid", "7"],
        ["-w", "ended(7[2])"],
    ]
    assert [scheduler.exclude_option(["a", "b"]) for scheduler in ALL] == [
        ["--exclude=a,b"],
        [],
        ["-l", "hostname=!(a|b)"],
        ["-R", "select[hname!=a && hname!=b]"],
    ]
    assert [scheduler.exclude_option([]) for scheduler in ALL] == [[], [], [], []]
    assert [scheduler.warn_command("7_2") for scheduler in ALL] == [
        ["scancel", "--batch", "--signal=USR1", "7_2"],
        ["qsig", "-s", "SIGUSR1", "7[2]"],
        None,
        ["bkill", "-s", "USR1", "7[2]"],
    ]
    assert [scheduler.requeue_command("7_2") for scheduler in ALL] == [
        ["scontrol", "requeue", "7_2"],
        None,
        None,
        ["brequeue", "7[2]"],
    ]
    assert [scheduler.status_command("7_2") for scheduler in ALL] == [
        ["squeue", "--noheader", "--jobs=7_2", "--format=%T %r"],
        ["qstat", "-f", "7[2]"],
        ["qstat", "-xml", "-g", "d"],
        ["bjobs", "-noheader", "-o", "stat pend_reason delimiter='|'", "7[2]"],
    ]
    assert [scheduler.submit_command("job.sh") for scheduler in ALL] == [
        ["sbatch", "--parsable", "job.sh"],
        ["qsub", "job.sh"],
        ["qsub", "-terse", "job.sh"],
        ["bsub"],
    ]


@pytest.mark.parametrize(
    ("scheduler", "output", "job_id", "state", "reason"),
    [
        (SLURM, "PENDING Resources\n", "1", "pending", "Resources"),
        (SLURM, "PENDING None\n", "1", "pending", ""),
        (SLURM, "PENDING (ReqNodeNotAvail, UnavailableNodes:node2)\n", "1", "pending", "(ReqNodeNotAvail, UnavailableNodes:node2)"),
        (SLURM, "PENDING JobArrayTaskLimit\nRUNNING None\n", "2", "running", "JobArrayTaskLimit"),
        (SLURM, "COMPLETING NodeDown\n", "1", "ending", ""),
        (SLURM, "REQUEUED BeginTime\n", "1", "pending", "BeginTime"),
        (SLURM, "", "2_5", "gone", ""),
        (PBS, QSTAT_F, "12", "pending", "Not Running: Not enough free nodes available"),
        (PBS, QSTAT_F.replace("job_state = Q", "job_state = R"), "12", "running", ""),
        (PBS, QSTAT_F.replace("job_state = Q", "job_state = H"), "12", "pending", "Not Running: Not enough free nodes available"),
        (PBS, QSTAT_F.replace("nodes available", "nodes av\n\tailable"), "12", "pending", "Not Running: Not enough free nodes available"),
        (PBS, QSTAT_F.replace("job_state = Q", "job_state = B"), "12[]", "running", ""),
        (PBS, QSTAT_F.replace("job_state = Q", "job_state = X"), "12[3]", "gone", ""),
        (PBS, QSTAT_F.replace("job_state = Q", "job_state = E"), "12", "ending", ""),
        (PBS, QSTAT_F.replace("job_state = Q", "job_state = F"), "12", "gone", ""),
        (PBS, "", "12", "gone", ""),
        (SGE, QSTAT_G_D, "6", "running", ""),
        (SGE, QSTAT_G_D, "6_1", "running", ""),
        (SGE, QSTAT_G_D, "6_2", "pending", ""),
        (SGE, QSTAT_G_D, "6_3", "gone", ""),
        (SGE, QSTAT_G_D, "5", "running", ""),
        (SGE, QSTAT_G_D, "7", "pending", "on hold (hqw)"),
        (SGE, QSTAT_G_D, "9", "pending", "its start failed (Eqw)"),
        (SGE, QSTAT_G_D, "99", "gone", ""),
        (SGE, QSTAT_G_D.replace("<state>r<", "<state>dr<"), "5", "ending", ""),
        (SGE, QSTAT_G_D.replace("<state>r<", "<state>s<"), "5", "running", ""),
        (SGE, QSTAT_G_D.replace("<state>r<", "<state>Rq<"), "5", "pending", ""),
        (LSF, "PEND|New job is waiting for scheduling;\n", "1", "pending", "New job is waiting for scheduling"),
        (LSF, "PEND|-\n", "1", "pending", ""),
        (LSF, "RUN|-\n", "1", "running", ""),
        (LSF, "DONE|-\n", "1", "gone", ""),
        (LSF, "EXIT|-\n", "1", "gone", ""),
        (LSF, "ZOMBI|-\n", "1", "ending", ""),
        (LSF, "DONE|-\nRUN|-\nPEND|x\n", "1", "running", "x"),
        (LSF, "", "1", "gone", ""),
    ],
)  # fmt: skip
def test_the_state_of_a_job_and_why_it_waits(
    scheduler: BatchScheduler, output: str, job_id: str, state: str, reason: str
) -> None:
    assert scheduler.state(output, job_id) == state
    assert scheduler.reason(output, job_id) == reason


PLAIN, ARRAY = ((SAMPLES / f"qstat-xml-j-{name}.xml").read_text() for name in ("plain", "array"))
STARTED = time.mktime((2026, 11, 28, 3, 0, 0, 0, 0, -1))
RUNNING = QSTAT_F.replace("job_state = Q", "job_state = R").replace(
    "    Hold_Types", "    resources_used.walltime = 00:00:26\n    stime = Sat Nov 28 03:00:00 2026\n    Hold_Types"
)


@pytest.mark.parametrize(
    ("scheduler", "output", "job_id", "now", "seconds"),
    [
        (PBS, RUNNING, "12", STARTED + 100, 500),
        (PBS, RUNNING, "12", STARTED + 9999, 0),
        (PBS, RUNNING.replace("stime", "xtime"), "12", STARTED + 100, 574),
        (PBS, QSTAT_F.replace("Resource_List.walltime", "x"), "12", STARTED, None),
        (PBS, "", "12", STARTED, None),
        (SGE, PLAIN, "1", 1795835651 + 100, 500),
        (SGE, PLAIN, "1", 1795835651 + 700, 0),
        (SGE, PLAIN.replace("h_rt", "h_vmem"), "1", 1795835651, None),
        (SGE, ARRAY, "3_2", 1795835708 + 100, 500),
        (SGE, ARRAY, "3_3", 1795835708 + 100, None),
        (SGE, "", "3", 0, None),
        (LSF, "0:30 L\n", "1", None, 1800),
        (LSF, "25:01 L\n", "1", None, 90060),
        (LSF, "0:30 E\n", "1", None, None),
        (LSF, "-\n", "1", None, None),
    ],
)
def test_the_time_left(
    scheduler: BatchScheduler, output: str, job_id: str, now: float | None, seconds: float | None
) -> None:
    assert scheduler.time_left_s(output, job_id, now) == seconds


@pytest.mark.parametrize(
    ("scheduler", "errors"),
    [
        (SLURM, "slurm_load_jobs error: Invalid job id specified\n"),
        (PBS, "qstat: Unknown Job Id 99.head\n"),
        (PBS, "qstat: 11.head Job has finished, use -x or -H to obtain historical job information\n"),
        (SGE, "Following jobs do not exist: \n99\n"),
        (SGE, 'denied: job "99" does not exist\n'),
        (LSF, "Job <99> is not found\n"),
    ],
)
def test_a_job_that_is_unknown_is_told_from_a_scheduler_that_is_down(scheduler: BatchScheduler, errors: str) -> None:
    assert scheduler.is_unknown(errors)
    for down in (
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        "qstat: cannot connect to server head (errno=111)",
        "error: commlib error: got select error (Connection refused)\nerror: unable to send message to qmaster",
        "LSF is down. Please wait ...",
        "",
    ):
        assert not scheduler.is_unknown(down)


ANSWERS = st.text() | st.sampled_from([QSTAT_F, QSTAT_G_D, PLAIN, ARRAY, RUNNING]).flatmap(
    lambda text: st.tuples(st.integers(0, len(text)), st.integers(0, 40), st.text(max_size=3)).map(
        lambda cut: text[: cut[0]] + cut[2] + text[cut[0] + cut[1] :]
    )
)


@pytest.mark.parametrize("scheduler", ALL, ids=FLAGS)
@given(output=ANSWERS)
@example("\u00b2" * 9)
@example("9" * 5000 + ":00")
@example("<job_list><JB_job_number>12</JB_job_number></job_list>")
@example("    job_state = \n    Resource_List.walltime = 99999999:99:99\n    stime = Sat Nov 28 03:00:00 99999\n")
def test_no_forged_answer_is_more_than_a_state_a_text_and_a_number(scheduler: BatchScheduler, output: str) -> None:
    assert scheduler.state(output, "12_3") in ("pending", "running", "ending", "gone")
    assert isinstance(scheduler.reason(output, "12_3"), str)
    left = scheduler.time_left_s(output, "12_3")
    assert left is None or left >= 0
    with contextlib.suppress(UserError):
        assert scheduler.submitted_id(output).isdecimal()
