"""What a run looks like: plain lines where nobody draws bars, each figure beside its baseline, the same in the log."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.table import Table

from hvd_train.cli import console as module
from hvd_train.cli import live_terminal
from hvd_train.cli.console import ConsoleObserver
from hvd_train.cli.safe_console import SafeConsole
from hvd_train.cli.terminal import tell
from hvd_train.distributed.failure import end_rank
from hvd_train.distributed.launchers import detect_placement
from hvd_train.distributed.launchers.mpirun import Mpirun
from hvd_train.runs.directory import RunDir

ROW = {
    "epoch": 2,
    "loss": 3.1,
    "val_loss": 3.2,
    "val_accuracy": 0.081,
    "val_rmse": 9.4,
    "samples_per_s": 41234.0,
    "seconds": 1.25,
}
REPORT = SimpleNamespace(
    metrics={"test": {"loss": 3.3, "accuracy": 0.07, "rmse": 9.5}},
    baselines={"test": {"loss": 3.4, "accuracy": 0.074, "rmse": 10.5}},
    optimum={"test": {"rmse": 8.7}},
    details={
        "test": {
            "balanced_mae": 12.5,
            "macro_accuracy_by_decade": 0.25,
            "expected_calibration_error": 0.0123,
            "decades": [
                {"decade": 1990, "train_rows": 1234, "rows": 99, "mae": 5.5, "rmse": 7.25, "decade_accuracy": 0.5}
            ],
        }
    },
    verdict="no better than the trivial baseline in: exact accuracy",
    published={"MLP": 8.853, "linear regression": 9.5},
    best_epoch=2,
    epochs=4,
    samples_per_s=41000.0,
    train_seconds=5.0,
    wall_seconds=6.0,
)


def shown(tmp_path: Path, *, terminal: bool = False, **how: bool) -> tuple[str, str]:
    """What a whole run prints, and its log."""
    out = io.StringIO()
    run_dir = RunDir(tmp_path / "run")
    observer = ConsoleObserver(run_dir, SafeConsole(file=out, force_terminal=terminal, width=120), **how)
    observer.on_message("before the directory is there")
    run_dir.create()
    run_dir.config.touch()  # from here on the run has begun
    observer.on_start({}, {"ranks": "2 on lab1 (2)", "batch": "256 rows a step"}, run_dir.path)
    observer.on_epoch_begin(2, 4, 124)
    observer.on_steps(64, 124, 40000.0, 3.15)
    observer.on_epoch_end(ROW, best=True)
    observer.on_end(REPORT)
    observer.close()
    return out.getvalue(), run_dir.log.read_text()


def test_plain_lines_without_a_terminal(tmp_path: Path) -> None:
    out, log = shown(tmp_path)
    assert "\x1b" not in out
    decade = " ".join(next(line for line in log.splitlines() if "1990" in line).replace("│", " ").split())
    assert decade.endswith("1990 1,234 99 5.5000 7.2500 50.00 %")
    assert "calibration error 0.0123" in log
    # 9.500 twice: the run's own and the linear one's; the best comes last.
    assert log.index("this run") < log.index("MLP")
    assert "ranks  2 on lab1 (2)" in out
    assert (
        "epoch  2/4  train loss 3.1000  validation: loss 3.2000  accuracy 8.10 %  rmse 9.4000  41,234 samples/s  1.2 s  best"
        in out
    )
    assert "NO BETTER" in out
    assert "best possible" in out
    assert "The model is no better than the trivial baseline in: exact accuracy." in out
    for line in ("before the directory is there", "ranks  2 on lab1 (2)", "epoch  2/4", "NO BETTER"):
        assert line in log, line


def test_a_resumed_run_says_where_it_goes_on(tmp_path: Path) -> None:
    out = io.StringIO()
    observer = ConsoleObserver(RunDir(tmp_path), SafeConsole(file=out, width=120))
    observer.on_resume([ROW, ROW], step=64, best_epoch=1)
    observer.on_resume([ROW], step=0, best_epoch=1)
    observer.on_resume([], step=1, best_epoch=0)
    assert out.getvalue().splitlines() == [
        "The run goes on after epoch 2 and 64 steps; the best epoch so far is 1.",
        "The run goes on after epoch 1; the best epoch so far is 1.",
        "The run goes on after 1 step.",
    ]


def test_the_bar_of_a_resumed_epoch_begins_where_it_was_left(tmp_path: Path) -> None:
    out = io.StringIO()
    observer = ConsoleObserver(RunDir(tmp_path), SafeConsole(file=out, force_terminal=True, width=120))
    observer.on_resume([ROW], step=64, best_epoch=1)
    observer.on_epoch_begin(2, 4, 124)
    observer.close()
    assert "64/124" in out.getvalue()
    observer.on_epoch_begin(3, 4, 124)
    observer.close()
    assert "0/124" in out.getvalue()


def test_a_bar_with_steps_and_rate_on_a_terminal(tmp_path: Path) -> None:
    out, log = shown(tmp_path, terminal=True)
    assert "64/124" in out
    assert "40,000 samples/s" in out
    assert "\x1b" not in log


def test_quiet_shows_the_result_alone_and_logs_everything(tmp_path: Path) -> None:
    _, everything = shown(tmp_path / "loud")
    out, log = shown(tmp_path, terminal=True, quiet=True)
    for text in ("The model is no better than", "Written to", "NO BETTER"):
        assert text in out
    for text in (
        "before the directory",
        "ranks  ",
        "64/124",
        "epoch  2/4",
        "calibration error",
        "this run",
        "samples/s",
    ):
        assert text not in out
    assert [line[21:] for line in log.splitlines()] == [
        line[21:].replace("/loud", "") for line in everything.splitlines()
    ]
    assert shown(tmp_path / "member", quiet=True, shows_result=False)[0] == ""


# Foreground and background colours: 30 to 49, 90 to 107, whichever else is set with them.
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d|10\d)(?:;\d+)*m")


def test_no_color_is_respected_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert COLOUR.search(shown(tmp_path / "a", terminal=True)[0])
    monkeypatch.setenv("NO_COLOR", "1")
    assert not COLOUR.search(shown(tmp_path / "b", terminal=True)[0])


@pytest.mark.parametrize("argv", [["train", "--help"], ["train", "--nonsense"], ["runs"]])
def test_no_color_is_respected_by_help_errors_and_tables(argv: list[str], tmp_path: Path) -> None:
    """On a real terminal, which `script` of util-linux makes."""
    command = shlex.join([sys.executable, "-m", "hvd_train.cli.entry", *argv])
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1"}
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout
    assert not COLOUR.search(done.stdout), done.stdout


def test_long_epochs_show_a_plain_line_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLAIN_EVERY_S", 0.0)
    out, log = shown(tmp_path)
    assert "epoch 2/4  step 64/124  loss 3.15  40,000 samples/s" in out
    assert "step 64/124" not in log


@pytest.fixture
def parent(tmp_path: Path) -> Callable[..., Path]:
    """A made-up folder of /proc: of a process with this command line, whose output goes to `shows`."""

    def make(command: str, shows: str) -> Path:
        folder = tmp_path / "1234"
        (folder / "fd").mkdir(parents=True)
        (folder / "cmdline").write_bytes(command.replace(" ", "\0").encode() + b"\0")
        (folder / "fd" / "1").symlink_to(shows)
        return folder

    return make


@pytest.mark.parametrize(
    ("command", "shows", "drawn"),
    [
        ("/opt/bin/mpirun -np 2 hvd-train train", "/dev/pts/3", True),
        ("mpiexec -np 2 hvd-train train", "/dev/tty1", True),
        ("mpirun -np 2 hvd-train train", "/home/me/log.txt", False),
        ("mpirun --tag-output -np 2 hvd-train train", "/dev/pts/3", False),
        ("mpirun --timestamp-output -np 2 hvd-train train", "/dev/pts/3", False),
        ("bash", "/dev/pts/3", False),
        ("make test", "/dev/pts/3", False),
        ("orted -mca ess env", "/dev/pts/3", False),
        ("", "/dev/pts/3", False),
    ],
)
def test_a_bar_is_drawn_where_mpirun_itself_shows_bytes_on_a_terminal(
    parent: Callable[..., Path], command: str, shows: str, drawn: bool
) -> None:
    assert Mpirun().shows_terminal(parent(command, shows)) == drawn


def test_no_parent_to_look_at_is_no_terminal(tmp_path: Path) -> None:
    assert not Mpirun().shows_terminal(tmp_path / "gone")


def test_under_a_launcher_the_parent_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    for drawn in (False, True):
        monkeypatch.setattr(Mpirun, "shows_terminal", lambda *_, drawn=drawn: drawn)
        assert live_terminal.plain_or_live().is_terminal == drawn


def test_names_of_strangers_are_shown_not_obeyed(tmp_path: Path) -> None:
    """Column names in notes, class names in tables: neither escape sequences nor rich's markup."""
    name = "\x1b]0;owned\x07[/red]\x9b31m:smile:"
    shown = r"\x1b]0;owned\x07[/red]\x9b31m:smile:"
    for terminal in (False, True):
        out = io.StringIO()
        run_dir = RunDir(tmp_path / f"run-{terminal}")
        run_dir.create()
        run_dir.config.touch()
        observer = ConsoleObserver(run_dir, SafeConsole(file=out, force_terminal=terminal, width=160))
        observer.on_message(f"1 of 3 columns are constant in train: {name}")
        table = Table(title=name)
        table.add_column(name)
        table.add_row(name)
        observer._table(table)
        for text in (out.getvalue(), run_dir.log.read_text()):
            assert text.count(shown) == 4, text
            assert not {"\x1b]", "\x07", "\x9b"} & {text[i : i + n] for i in range(len(text)) for n in (1, 2)}
    assert "\x1b" not in run_dir.log.read_text()


def test_what_verbs_and_errors_say_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    alone = detect_placement({})
    tell(alone, "column \x1b[31mred\nnext line")
    end_rank(alone, 2, "error: \x1b[2J")
    out = capsys.readouterr()
    assert (out.out, out.err) == ("column \\x1b[31mred\nnext line\n", "error: \\x1b[2J\n")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_conversion_shows_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    """A bar on a terminal, which is gone when the run begins; a line now and then elsewhere; nothing with --quiet."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("hvd_train.cli.console.PLAIN_EVERY_S", 0.0)
    for quiet in (False, True):
        out = io.StringIO()
        console = SafeConsole(file=out, force_terminal=terminal, width=100)
        observer = ConsoleObserver(RunDir(tmp_path / "run"), console, quiet=quiet)
        observer.on_preparation(25_000_000, 100_000_000)
        observer.on_start({}, {"ranks": "1"}, tmp_path / "run")
        wanted = "25.0/100.0 MB" if terminal else "converted: 25% of 100 MB"
        assert (wanted in out.getvalue()) == (not quiet)
        assert observer._bar is None
