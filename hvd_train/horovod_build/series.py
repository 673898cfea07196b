"""Read the patches of patches/ and apply them strictly, without git or patch, which a user's machine may lack.

Strict means: every line of a hunk is where the hunk says, or the source is refused. There is no fuzz and no offset.
Files can be changed and added. Nothing else is understood: no renames, deletions, binary files or modes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# The first of them are those without which Horovod does not compile against today's TensorFlow.
NUM_TO_COMPILE = 1
PATCHES = Path(__file__).resolve().parent / "patches"
_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NO_NEWLINE = b"\\ No newline at end of file"


class DoesNotApply(Exception):
    """The source is not the one that the series is for, or a patch is not of the form that this file understands."""


@dataclass(frozen=True)
class Hunk:
    """Consecutive lines, with their ends of line. `start` and `new_start` count from 1; 0 stands for an empty file."""

    start: int
    new_start: int
    before: tuple[bytes, ...]
    after: tuple[bytes, ...]


@dataclass(frozen=True)
class FilePatch:
    """The hunks of one file. `path` is relative to the root of the source."""

    path: str
    is_new: bool
    hunks: tuple[Hunk, ...]


@dataclass(frozen=True)
class Patch:
    """One file of the series: the commit message as its header, then the changed files."""

    name: str
    header: str
    files: tuple[FilePatch, ...]


def read_series(folder: Path = PATCHES) -> list[Patch]:
    """The patches in the order of their numbers, 0001 and on. Raises DoesNotApply."""
    paths = sorted(folder.glob("*.patch"))
    if not paths:
        raise DoesNotApply(f"there is no patch in {folder}")
    for number, path in enumerate(paths, 1):
        if not path.name.startswith(f"{number:04d}-"):
            raise DoesNotApply(f"patch {number:04d} is missing: {path.name} comes next in {folder}")
    return [parse(path.name, path.read_bytes()) for path in paths]


def parse(name: str, text: bytes) -> Patch:
    """One patch as `git format-patch` writes it. Raises DoesNotApply."""
    header, *sections = re.split(rb"^diff --git ", text, flags=re.MULTILINE)
    if not sections:
        raise DoesNotApply(f"{name} changes no file")
    files = tuple(_file_patch(name, section.splitlines(keepends=True)) for section in sections)
    return Patch(name, header.decode(), files)


def _file_patch(name: str, lines: list[bytes]) -> FilePatch:
    first = next((i for i, line in enumerate(lines) if line.startswith(b"@@ ")), len(lines))
    head = [line.rstrip(b"\n") for line in lines[1:first]]
    old, new = (next((x[4:] for x in head if x.startswith(sign)), b"") for sign in (b"--- ", b"+++ "))
    is_new = old == b"/dev/null"
    known = (b"index ", b"--- ", b"+++ ", b"new file mode 100644")
    strange = [line for line in head if not line.startswith(known)]
    if strange or not new.startswith(b"b/") or (not is_new and old[2:] != new[2:]):
        why = strange[0].decode() if strange else lines[0].decode().strip()
        raise DoesNotApply(f"{name} does more than change and add text files ({why})")
    path, hunks = new[2:].decode(), []
    while first < len(lines) and lines[first].startswith(b"@@ "):
        hunk, first = _hunk(name, path, lines, first)
        hunks.append(hunk)
    return FilePatch(path, is_new, tuple(hunks))


def _hunk(name: str, path: str, lines: list[bytes], at: int) -> tuple[Hunk, int]:
    """The hunk whose head is lines[at], and the index of the line after it."""
    match = _HUNK.match(lines[at])
    if match is None:
        raise DoesNotApply(f"{name} has a head of a hunk in {path} that cannot be read: {lines[at].decode().strip()}")
    num_before, num_after = (1 if n is None else int(n) for n in match.group(2, 4))
    before: list[bytes] = []
    after: list[bytes] = []
    at += 1
    while len(before) < num_before or len(after) < num_after:
        if at == len(lines) or lines[at][:1] not in (b" ", b"-", b"+"):
            raise DoesNotApply(f"{name} has a hunk in {path} that is shorter than its head says")
        line = lines[at]
        at += 1
        ends_without = at < len(lines) and lines[at].startswith(_NO_NEWLINE)
        content = line[1:].rstrip(b"\n") if ends_without else line[1:]
        at += ends_without
        if line[:1] in b" -":
            before.append(content)
        if line[:1] in b" +":
            after.append(content)
    if len(before) != num_before or len(after) != num_after:
        raise DoesNotApply(f"{name} has a hunk in {path} that is longer than its head says")
    return Hunk(int(match[1]), int(match[3]), tuple(before), tuple(after)), at


def patched_files(series: Sequence[Patch], read: Callable[[str], bytes | None]) -> dict[str, bytes]:
    """The content of every file that the series changes or adds. Nothing is written. Raises DoesNotApply.

    `read` returns the content of a file of the source, or None where there is no such file.
    """
    contents: dict[str, bytes] = {}
    for patch in series:
        for file in patch.files:
            content = contents.get(file.path, read(file.path))
            if file.is_new != (content is None):
                raise DoesNotApply(f"{patch.name} {'adds' if file.is_new else 'changes'} {file.path}, which is "
                                   f"{'there already' if file.is_new else 'not there'}")  # fmt: skip
            contents[file.path] = _apply_hunks(patch.name, file, content or b"")
    return contents


def _apply_hunks(name: str, file: FilePatch, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    result: list[bytes] = []
    done = 0
    for number, hunk in enumerate(file.hunks, 1):
        start = hunk.start - 1 if hunk.before else hunk.start
        result += lines[done:start]
        new_start = hunk.new_start - 1 if hunk.after else hunk.new_start
        if start < done or len(result) != new_start or tuple(lines[start : start + len(hunk.before)]) != hunk.before:
            raise DoesNotApply(f"hunk {number} of {file.path} in {name} is not for the lines from {hunk.start} on")
        result += hunk.after
        done = start + len(hunk.before)
    return b"".join(result + lines[done:])


def apply(series: Sequence[Patch], source: Path) -> None:
    """Change the unpacked `source`: all of the series, or nothing. Raises DoesNotApply."""

    def read(path: str) -> bytes | None:
        return (source / path).read_bytes() if (source / path).is_file() else None

    for path, content in patched_files(series, read).items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(content)


def added_files(series: Sequence[Patch]) -> dict[str, bytes]:
    """The files that the series adds to Horovod, by their paths, as the whole series leaves them."""
    added = {file.path for patch in series for file in patch.files if file.is_new}
    own = [Patch(p.name, p.header, tuple(f for f in p.files if f.path in added)) for p in series]
    return patched_files(own, lambda path: None)


def digest(series: Sequence[Patch]) -> str:
    """Eight characters that differ where the patched source differs. A header can be edited without a new build."""
    return hashlib.sha256(repr([patch.files for patch in series]).encode()).hexdigest()[:8]
