"""Python programs on several ranks: they end as the command line does, whatever happens in them."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from processes import Finished, horovodrun, run, started

from hvd_train.errors import TO_BE_CONTINUED

TRAIN = """
import hvd_train
config = hvd_train.recipe("debug").replace(training={"num_epochs": %d, "watchdog_s": 20.0, "early_stopping_patience": 0})
report = hvd_train.train(config=config, run_dir="run", callbacks=[%s])
"""


def program(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "program.py").write_text(text)
    return horovodrun(2, sys.executable, tmp_path / "program.py")


def ran(tmp_path: Path, text: str) -> Finished:
    return run(program(tmp_path, text), timeout_s=110, cwd=tmp_path, ok=False)


@pytest.mark.timeout(150)
def test_an_error_on_one_rank_ends_the_job_and_names_the_rank(tmp_path: Path) -> None:
    finished = ran(
        tmp_path,
        "import hvd_train\nworld = hvd_train.open_world()\nif world.rank == 1:\n    raise RuntimeError('lost its way')\n"
        "world.allgather(1)\n",
    )
    assert finished.code != 0
    assert "RuntimeError: lost its way" in finished.output
    assert "rank 1" in finished.output, str(finished)
    assert not finished.left_behind


@pytest.mark.timeout(150)
def test_a_users_mistake_is_one_message_and_no_traceback(tmp_path: Path) -> None:
    finished = ran(tmp_path, "import hvd_train\nhvd_train.train('nowhere.csv', run_dir='run')\n")
    assert finished.code != 0
    assert "nowhere.csv" in finished.output
    assert "Traceback" not in finished.output
    assert finished.output.count("no such file") == 1, str(finished)


@pytest.mark.slow  # the command has a quick one
@pytest.mark.timeout(180)
def test_ctrl_c_leaves_a_checkpoint_and_the_way_to_go_on(tmp_path: Path) -> None:
    with started(program(tmp_path, TRAIN % (5000, "")), timeout_s=150, cwd=tmp_path) as job:
        job.wait_for("epoch  2/5000", timeout_s=100)
        job.signal(signal.SIGINT)
        finished = job.wait(20)
    assert finished.code != 0
    assert (tmp_path / "run" / "checkpoints" / "last.npz").exists()
    assert "Traceback" not in finished.output, str(finished)
    assert not finished.left_behind


@pytest.mark.timeout(150)
def test_a_world_that_was_closed_cannot_be_opened_again(tmp_path: Path) -> None:
    finished = ran(
        tmp_path, "import hvd_train\nwith hvd_train.open_world() as world:\n    world.allgather(1)\nhvd_train.train()\n"
    )
    assert finished.code != 0
    assert "were closed before" in finished.output, str(finished)


def test_a_run_to_be_continued_ends_a_program_of_one_rank_with_its_message_and_code(tmp_path: Path) -> None:
    text = "import atexit, hvd_train\natexit.register(print, 'left in good order')\n" + TRAIN % (400, "")
    (tmp_path / "program.py").write_text(text.replace("run_dir=", "stop_after=0.1, run_dir="))
    finished = run([sys.executable, tmp_path / "program.py"], timeout_s=110, cwd=tmp_path, ok=False)
    assert finished.code == TO_BE_CONTINUED, str(finished)
    assert "stopped by --stop-after before the first step" in finished.stderr
    assert "Traceback" not in finished.output
    assert "left in good order" in finished.stdout
