"""Runs the commands of a scheduler. Each has a limit, and whatever goes wrong is one message with what it printed.

output = ask(["squeue", "--noheader"])
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hvd_train.errors import HvdTrainError, MissingEnvironment, UserError
from hvd_train.processes import signals_wait
from hvd_train.text import one_line

LIMIT_VARIABLE = "HVD_TRAIN_SCHEDULER_LIMIT_S"
LIMIT_S = 60.0
LONGEST_SAID = 400


class SchedulerSilent(HvdTrainError):
    """A command of the scheduler did not end in time. Whether it did its work is not known."""

    exit_code = 3


class SchedulerRefused(UserError):
    """A command of the scheduler ended with an error. `answer` has what it printed."""

    def __init__(self, message: str, answer: Answer) -> None:
        super().__init__(message)
        self.answer = answer


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    output: str
    errors: str

    @property
    def said(self) -> str:
        """What it printed, its errors first, in one line."""
        return brief(self.errors) or brief(self.output) or "nothing"


def ask(command: Sequence[str], *, stdin: Path | None = None, cwd: Path | None = None) -> str:
    """What the command prints. Raises UserError where it refuses, MissingEnvironment, or SchedulerSilent."""
    answer = answer_of(command, stdin=stdin, cwd=cwd)
    if answer.code != 0:
        raise SchedulerRefused(
            f"{command[0]} refused (exit code {answer.code}) and printed: {answer.said}. The command was: {shown(command)}",
            answer,
        )
    return answer.output


def answer_of(command: Sequence[str], *, stdin: Path | None = None, cwd: Path | None = None) -> Answer:
    """How the command ends. Raises MissingEnvironment where there is none, SchedulerSilent where it takes too long."""
    limit_s = limit()
    # Files, not pipes: what the command has left behind cannot keep us waiting for the end of its output.
    with contextlib.ExitStack() as stack:
        out, errors = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        given = stack.enter_context(stdin.open("rb")) if stdin else subprocess.DEVNULL
        process: subprocess.Popen[bytes] | None = None
        code: int | None = None
        try:
            with signals_wait():
                process = subprocess.Popen(
                    list(command), stdin=given, stdout=out, stderr=errors, cwd=cwd, start_new_session=True
                )
            code = process.wait(limit_s)
        except OSError as error:
            raise MissingEnvironment(
                f"{command[0]} cannot be started ({error.strerror}). Run this where the commands of the scheduler are on PATH."
            ) from None
        except subprocess.TimeoutExpired:
            pass
        finally:
            if process is not None and process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        texts = []
        for file in (out, errors):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    if code is None:
        raise SchedulerSilent(
            f"{command[0]} did not end within {limit_s:g} s and was stopped; it printed: {Answer(1, *texts).said}. "
            f"{LIMIT_VARIABLE} sets the limit. The command was: {shown(command)}"
        )
    return Answer(code, *texts)


def limit() -> float:
    """Seconds that a command may take."""
    given = os.environ.get(LIMIT_VARIABLE, "")
    try:
        value = float(given) if given else LIMIT_S
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UserError(f"{LIMIT_VARIABLE} = {given!r} is not a number of seconds above 0.")
    return value


def brief(text: str) -> str:
    """In one line of at most LONGEST_SAID characters, without a full stop."""
    joined = " / ".join(line.strip() for line in text.splitlines() if line.strip())
    return one_line(joined if len(joined) <= LONGEST_SAID else f"{joined[:LONGEST_SAID]}...").rstrip(".")


def shown(command: Sequence[str]) -> str:
    """As a shell takes it."""
    return shlex.join(command)
