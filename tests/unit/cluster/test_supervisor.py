"""The loop of the supervisor, with ranks that follow a script and a clock that only waiting moves."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from supervised import Script, supervise, write_checkpoint

from hvd_train.cluster.supervise.allocation import Allocation
from hvd_train.cluster.supervise.policy import Rules
from hvd_train.cluster.supervise.supervisor import Options
from hvd_train.errors import MissingEnvironment, UserError
from hvd_train.hostfiles import Host
from hvd_train.runs import RunDir, lock_directory

HERE = Allocation((Host("localhost", 2),), "this machine")
LAB = Allocation((Host("lab1", 4), Host("lab2", 4)), "--hosts lab1:4,lab2:4")
DONE = Script(done=True, checkpoint=(3, 0))


def test_a_run_that_needs_no_help(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, DONE, allocation=HERE)
    assert outcome.code == 0
    assert outcome.ends == [("done", "nothing")]
    assert "--resume" in outcome.world.launched[0]
    assert outcome.world.launched[0][-4:] == ["--run-dir", str(tmp_path / "run"), "--resume", "auto"]
    assert "on 2 ranks (localhost: 2), from the beginning" in outcome.told[0]
    assert "is complete" in outcome.told[-1]


def test_a_complete_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "DONE").touch()
    outcome = supervise(tmp_path, allocation=HERE)
    assert (outcome.code, outcome.events) == (0, ())


def test_a_failure_is_started_again_from_the_checkpoint(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, Script(137, checkpoint=(1, 5)), DONE, allocation=HERE)
    assert outcome.code == 0
    assert outcome.ends == [("failed", "restart"), ("done", "nothing")]
    second = outcome.events[2]
    assert (second.number, second.epoch, second.step) == (2, 1, 5)
    assert any("start 2" in line and "after 1 epoch and 5 steps" in line for line in outcome.told)
    assert outcome.world.t - 1000 == pytest.approx(200, abs=3)  # two starts of 100 s, and none waits


def test_0_without_done_is_a_failure(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, Script(0), DONE, allocation=HERE)
    assert outcome.ends[0] == ("failed", "restart")
    assert any("the launcher ended with 0, but the run is not complete" in line for line in outcome.told)


def test_it_gives_up_after_the_restarts_that_are_allowed(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, *[Script(4)] * 4, allocation=HERE)
    assert outcome.code == 4
    assert [following for _, following in outcome.ends] == ["restart", "restart", "restart", "give-up"]
    assert "Given up" in outcome.told[-1]


@pytest.mark.parametrize("code", [2, 3, 5])
def test_some_ends_are_not_tried_again(tmp_path: Path, code: int) -> None:
    outcome = supervise(tmp_path, Script(code, said="too large"), allocation=HERE)
    assert outcome.code == code
    assert "too large" in outcome.told[-1]


def test_an_oom_kill_is_not_tried_again(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, Script(137, oom=True), allocation=HERE)
    assert outcome.code == 5
    assert "memory" in outcome.told[-1]


def test_a_warning_is_passed_on_and_the_run_saved(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, Script(saves=(2, 7)), world={"signals": {30: signal.SIGUSR2}}, allocation=HERE)
    assert outcome.code == 85
    assert outcome.ends == [("saved", "nothing")]
    assert outcome.world.started[0].signals == [signal.SIGUSR1]


def test_a_warning_waits_until_the_ranks_can_hear_it(tmp_path: Path) -> None:
    """Until Python has its handlers, SIGUSR1 kills a rank. Seen under real Slurm."""
    outcome = supervise(tmp_path, Script(saves=(1, 1)), world={"signals": {1: signal.SIGUSR1}}, allocation=HERE)
    assert outcome.code == 85
    assert outcome.world.started[0].signals == [signal.SIGUSR1]
    assert outcome.world.t - 1000 == pytest.approx(7, abs=1.5)


def test_the_timer_warns_before_the_limit(tmp_path: Path) -> None:
    options = Options(time_limit_s=80.0, warn_s=20.0)
    outcome = supervise(tmp_path, Script(saves=(2, 7)), allocation=HERE, options=options)
    assert outcome.code == 85
    assert outcome.world.t - 1000 == pytest.approx(61, abs=1.5)
    assert "the time limit is near" in " ".join(outcome.told)


def test_ranks_that_do_not_save_in_time_are_ended(tmp_path: Path) -> None:
    script = Script(after_s=9000, ignores=(signal.SIGUSR1, signal.SIGTERM))
    outcome = supervise(tmp_path, script, world={"signals": {10: signal.SIGUSR1}}, allocation=HERE)
    assert outcome.code == 137
    assert outcome.world.started[0].signals == [signal.SIGUSR1, signal.SIGTERM]
    assert outcome.world.started[0].killed
    assert outcome.world.t - 1000 < 120


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_stop_saves_and_starts_nothing_again(tmp_path: Path, number: int, code: int) -> None:
    outcome = supervise(tmp_path, Script(saves=(2, 7)), world={"signals": {10: number}}, allocation=HERE)
    assert outcome.code == code
    assert outcome.ends == [("stopped", "nothing")]
    assert outcome.world.started[0].signals == [signal.SIGUSR1]


def test_a_stop_has_a_limit_and_a_second_one_none(tmp_path: Path) -> None:
    deaf = Script(ignores=(signal.SIGUSR1,), after_s=9000)
    outcome = supervise(tmp_path, deaf, world={"signals": {10: signal.SIGTERM}}, allocation=HERE)
    assert outcome.world.t - 1000 == pytest.approx(18, abs=2)
    again = Script(ignores=(signal.SIGUSR1,), after_s=9000)
    signals = {10: signal.SIGINT, 11: signal.SIGINT}
    outcome = supervise(tmp_path, again, world={"signals": signals}, allocation=HERE)
    assert outcome.code == 130
    assert outcome.world.t - 1000 == pytest.approx(12, abs=1.5)


def test_a_stop_during_the_pause_ends_it(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, Script(4, after_s=10), world={"signals": {12: signal.SIGTERM}}, allocation=HERE)
    assert outcome.code == 143


def test_a_warning_during_the_pause_leaves_the_restart_to_another_time(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, Script(4, after_s=10), world={"signals": {12: signal.SIGUSR1}}, allocation=HERE)
    assert outcome.code == 4
    assert "too near for a restart" in outcome.told[-1]


def test_a_launcher_that_stays_after_its_ranks_is_ended(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, Script(done=True, launcher_lingers=True), allocation=HERE)
    assert outcome.code == 0
    assert outcome.world.t - 1000 == pytest.approx(130, abs=3)
    assert outcome.world.started[0].killed


def test_a_start_without_a_rank_is_ended(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, Script(after_s=9000, begins=False), DONE, allocation=HERE)
    assert outcome.code == 0
    assert "no rank had begun" in outcome.events[1].reason  # type: ignore[union-attr]


def test_the_ranks_of_srun_are_not_below_it(tmp_path: Path) -> None:
    script = Script(done=True, after_s=900, begins=False)
    outcome = supervise(tmp_path, script, allocation=HERE, options=Options(launcher="srun"))
    assert outcome.ends == [("done", "nothing")]


def test_a_silent_host_is_left_out_and_comes_back(tmp_path: Path) -> None:
    failed = [Script(4, checkpoint=(n, 0)) for n in (1, 2)]
    outcome = supervise(tmp_path, *failed, DONE, world={"silent": {2: {"lab2"}}}, allocation=LAB)
    assert outcome.ranks == [8, 4, 8]
    assert any("lab2 is left out" in line for line in outcome.told)
    assert any("lab2 answers again" in line for line in outcome.told)
    assert not (tmp_path / "run" / "job" / "excluded").exists()


def test_a_host_named_twice_is_left_out(tmp_path: Path) -> None:
    failed = [Script(4, named=frozenset({"lab2"})) for _ in range(2)]
    outcome = supervise(tmp_path, *failed, DONE, allocation=LAB)
    assert outcome.ranks == [8, 8, 4]
    assert (tmp_path / "run" / "job" / "excluded").read_text().startswith("lab2  #")
    assert (tmp_path / "run" / "job" / "hostfile").read_text() == "lab1 slots=4\n"


def test_a_host_that_answers_stays_where_the_others_are_too_few(tmp_path: Path) -> None:
    failed = [Script(4, named=frozenset({"lab2"})) for _ in range(3)]
    options = Options(min_ranks=8, rules=Rules(max_restarts=9))
    outcome = supervise(tmp_path, *failed, DONE, allocation=LAB, options=options)
    assert outcome.code == 0
    assert outcome.ranks == [8, 8, 8, 8]


def test_a_new_checkpoint_forgets_what_was_named(tmp_path: Path) -> None:
    failed = [Script(4, named=frozenset({"lab2"}), checkpoint=(n, 0)) for n in range(1, 6)]
    outcome = supervise(tmp_path, *failed, DONE, allocation=LAB)
    assert outcome.ranks == [8] * 6


def test_the_last_host_is_never_left_out_for_its_name(tmp_path: Path) -> None:
    failed = [Script(4, named=frozenset({"localhost"})) for _ in range(3)]
    outcome = supervise(tmp_path, *failed, DONE, allocation=HERE)
    assert outcome.ranks == [2] * 4


def test_too_few_ranks_are_left(tmp_path: Path) -> None:
    outcome = supervise(
        tmp_path, Script(4), world={"silent": {2: {"lab2"}}}, allocation=LAB, options=Options(min_ranks=8)
    )
    assert outcome.code == 1
    assert "too few hosts" in outcome.told[-1]


def test_a_local_batch_keeps_the_number_of_ranks(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, Script(4), world={"silent": {2: {"lab2"}}}, allocation=LAB, keeps_size=True)
    assert outcome.code == 1


def test_no_host_answers_at_the_first_start(tmp_path: Path) -> None:
    with pytest.raises(MissingEnvironment, match="lab1: it does not answer: no route to host"):
        supervise(tmp_path, world={"silent": {1: {"lab1", "lab2"}}}, allocation=LAB)


def test_the_ranks_are_the_largest_number_that_divides(tmp_path: Path) -> None:
    three = Allocation((Host("a", 3), Host("b", 3)), "--hosts a:3,b:3")
    assert supervise(tmp_path, DONE, allocation=three).ranks == [4]
    assert (tmp_path / "run" / "job" / "hostfile").read_text() == "a slots=3\nb slots=1\n"


def test_a_second_supervisor_is_refused(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "run")
    with (
        lock_directory(run_dir.job.path, what="The supervisor's directory", flag="--run-dir"),
        pytest.raises(UserError, match="is in use by"),
    ):
        supervise(tmp_path, allocation=HERE)


def test_an_earlier_supervisor_counts(tmp_path: Path) -> None:
    first = supervise(tmp_path, *[Script(4)] * 2, allocation=HERE, options=Options(rules=Rules(max_restarts=1)))
    assert first.code == 4
    write_checkpoint(RunDir(tmp_path / "run"), (1, 0))
    second = supervise(tmp_path, Script(4), DONE, allocation=HERE)
    assert [event.number for event in second.events] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert second.code == 0
