#!/usr/bin/env python3
"""Run tests/parallel with pytest itself under mpirun: one launch a folder, so TensorFlow loads once a folder and rank.

    scripts/parallel_tests.py NP [-m MARKERS] [FILE or FOLDER ...]

A failure ends its launch, because the other ranks may wait for the rank that failed. The file that it happened in is then run
alone, which tells whether it fails by itself or by what an earlier file left behind; the files after it go on.
PARALLEL_TIMEOUT_S limits each launch (1800). Over the limit, the test that each rank was in is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "launch"))

from processes import started  # noqa: E402

# A rank that waits in a collective hears no signal: a thread of pytest-timeout ends it, and shows where it was.
PYTEST = "python -m pytest -q --color=no -p no:cacheprovider --durations=10 -o timeout_method=thread"
LIMIT_S = float(os.environ.get("PARALLEL_TIMEOUT_S", "1800"))
LONGEST_LOG_LINES, LAST_WORD_LINES = 60, 20


@dataclass
class Launch:
    """One mpirun of pytest on some files, after its end."""

    np: int
    files: Sequence[str]
    passed: bool = False
    summary: str = ""
    """What rank 0 reported: its last lines, with the slowest tests."""
    where: dict[int, str] = field(default_factory=dict)
    """The test that each rank was in at the end."""
    failures: dict[int, str] = field(default_factory=dict)
    """What failed on a rank, and how."""
    logs: str = ""

    @property
    def culprit(self) -> str | None:
        """The file of the failure: that of a rank that reported one, else that where most ranks were."""
        tests = [self.where[rank] for rank in self.failures if rank in self.where] or list(self.where.values())
        names = [test.partition("::")[0] for test in tests]
        return max(names, key=names.count) if names else None


def launch(np: int, markers: str, files: Sequence[str]) -> Launch:
    with tempfile.TemporaryDirectory(prefix="parallel-tests-") as scratch:
        logs, notes = Path(scratch, "log"), Path(scratch, "notes")
        notes.mkdir()
        pytest = [*PYTEST.split(), "-c", str(ROOT / "pyproject.toml"), "-m", markers, *files]
        command = ["mpirun", "-np", str(np), "--bind-to", "none", "--output-filename", str(logs), *pytest]
        ended = Launch(np, files)
        with started(command, timeout_s=LIMIT_S, env=_environment(notes), cwd=ROOT) as job:
            try:
                ended.passed = job.wait(LIMIT_S).code == 0
            except AssertionError:
                ended.logs = f"The launch took longer than its limit of {LIMIT_S:g} s.\n"
            # The ranks' own output is in their logs: what is left is the last word of mpirun.
            last_word = "\n".join(job.output.splitlines()[-LAST_WORD_LINES:])
        ended.where = {rank: text for rank, text in _notes(notes, "in")}
        ended.failures = {rank: text for rank, text in _notes(notes, "failed")}
        ended.logs += "".join(_rank_logs(logs)) + last_word
        ended.summary = _summary(logs)
    return ended


def _environment(notes: Path) -> dict[str, str | None]:
    found: dict[str, str | None] = {"HVD_TRAIN_TEST_NOTES": str(notes)}
    if "OMPI_MCA_orte_default_hostfile" in os.environ:  # other hosts do not have this host's temporary directories
        found |= {"OMPI_MCA_orte_tmpdir_base": None, "OMPI_MCA_btl_vader_backing_directory": None}
    return found


def _notes(directory: Path, kind: str) -> Iterator[tuple[int, str]]:
    for path in sorted(directory.glob(f"{kind}.*")):
        yield int(path.suffix[1:]), path.read_text()


def _rank_logs(directory: Path) -> Iterator[str]:
    for path in sorted(directory.rglob("std*")):
        lines = path.read_text(errors="replace").splitlines()
        if lines:
            yield f"--- {path.relative_to(directory)}\n" + "\n".join(lines[-LONGEST_LOG_LINES:]) + "\n"


def _summary(directory: Path) -> str:
    for path in directory.rglob("rank.0/stdout"):
        lines = path.read_text(errors="replace").splitlines()
        begin = next((i for i, line in enumerate(lines) if line.startswith("=") and "slowest" in line), len(lines) - 1)
        return "\n".join(lines[max(begin + 1, 0) :] if begin + 1 < len(lines) else lines[-1:])
    return ""


def run_folder(np: int, markers: str, files: Sequence[str]) -> list[str]:
    """Run the files in one launch, and what comes after a failure in further ones. Returns what to say about failures."""
    told: list[str] = []
    rest = list(files)
    while rest:
        ended = launch(np, markers, rest)
        title = f"np={np} {_folder(rest[0])}"
        if ended.passed:
            print(f"{title}: {ended.summary}", flush=True)
            return told
        culprit = ended.culprit if ended.culprit in rest else rest[0]
        print(f"{title}: FAILED in {culprit}\n{ended.logs}", flush=True)
        told += [f"np={np} {culprit}: {line}" for line in _reasons(ended)]
        if len(rest) > 1:
            alone = launch(np, markers, [culprit])
            told.append(f"np={np} {culprit}: {'PASSES' if alone.passed else 'fails too'} in a launch of its own")
            if alone.passed:
                told[-1] += ". What an earlier file of its folder left behind made it fail."
        rest = rest[rest.index(culprit) + 1 :]
    return told


def _reasons(ended: Launch) -> Iterator[str]:
    for rank, text in ended.failures.items():
        lines = text.splitlines()
        errors = [line for line in lines if line.startswith("E  ")]
        yield from (f"rank {rank}: {line}" for line in [lines[0], *errors[:10]])
    if not ended.failures:
        yield from (f"rank {rank} was in {test}" for rank, test in ended.where.items())
        if not ended.where:
            yield "no rank came to a test"


def _folder(file: str) -> str:
    return str(Path(file).parent)


def chosen(paths: Sequence[str]) -> list[str]:
    """The test files under the given files and folders, relative to the repository, in order."""
    found: list[str] = []
    for path in paths or ["tests/parallel"]:
        absolute = (Path.cwd() / path) if (Path.cwd() / path).exists() else ROOT / path
        if not absolute.exists():
            raise SystemExit(f"error: {path} is not there")
        files = sorted(absolute.rglob("test_*.py")) if absolute.is_dir() else [absolute]
        found += [os.path.relpath(file.resolve(), ROOT) for file in files]
    return list(dict.fromkeys(found))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="pytest under mpirun, one launch a folder of tests/parallel")
    parser.add_argument("np", type=int, help="number of ranks")
    parser.add_argument("paths", nargs="*", help="files or folders; all of tests/parallel without any")
    parser.add_argument("-m", dest="markers", default="", help="pytest's choice by markers, such as 'not slow'")
    arguments = parser.parse_intermixed_args(argv)
    told: list[str] = []
    with contextlib.suppress(KeyboardInterrupt):
        for _, files in itertools.groupby(chosen(arguments.paths), key=_folder):
            told += run_folder(arguments.np, arguments.markers, list(files))
        if told:
            print("\n".join(told))
        return 1 if told else 0
    return 130


if __name__ == "__main__":
    sys.exit(main())
