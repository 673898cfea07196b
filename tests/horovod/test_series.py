"""The series of patches: applied strictly, to the real source too, and the same as commits and as files."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import horovod_commits as commits
import pytest

from hvd_train.horovod_build import BuildError, series, source, wheel_cache
from hvd_train.horovod_build.series import DoesNotApply

SOURCE = b"one\ntwo\nthree\nfour\nfive\n"
PATCH = b"""\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
Subject: [PATCH] Change a line and add a file

Reason: none.

diff --git a/numbers.txt b/numbers.txt
index 0123..4567 100644
--- a/numbers.txt
+++ b/numbers.txt
@@ -2,3 +2,4 @@ one
 two
-three
+3
+3.5
 four
diff --git a/letters/a.txt b/letters/a.txt
new file mode 100644
index 0000..1234
--- /dev/null
+++ b/letters/a.txt
@@ -0,0 +1,2 @@
+a
+--- b
"""


def patched(patch: bytes = PATCH, content: bytes | None = SOURCE) -> dict[str, bytes]:
    contents = {"numbers.txt": content}
    return series.patched_files([series.parse("0001-x.patch", patch)], contents.get)


def test_a_patch_changes_and_adds_files(tmp_path: Path) -> None:
    expected = {"numbers.txt": b"one\ntwo\n3\n3.5\nfour\nfive\n", "letters/a.txt": b"a\n--- b\n"}
    assert patched() == expected
    (tmp_path / "numbers.txt").write_bytes(SOURCE)
    series.apply([series.parse("0001-x.patch", PATCH)], tmp_path)
    assert {path: (tmp_path / path).read_bytes() for path in expected} == expected
    assert series.added_files([series.parse("0001-x.patch", PATCH)]) == {"letters/a.txt": b"a\n--- b\n"}


def test_a_last_line_without_its_end_stays_without() -> None:
    patch = PATCH.replace(b" four\n", b" four\n\\ No newline at end of file\n")
    assert patched(patch, b"one\ntwo\nthree\nfour")["numbers.txt"] == b"one\ntwo\n3\n3.5\nfour"
    with pytest.raises(DoesNotApply, match=r"hunk 1 of numbers\.txt"):
        patched(patch)


@pytest.mark.parametrize(
    "other",
    [
        SOURCE.replace(b"two", b"two "),  # blanks count
        SOURCE.replace(b"three", b"drei"),
        SOURCE.replace(b"four", b"vier"),  # of the context, which `patch` takes with fuzz
        b"zero\n" + SOURCE,  # an offset of one line, which git and patch take
        SOURCE.replace(b"\n", b"\r\n"),
        b"one\ntwo\n",
        b"",
    ],
)
def test_another_source_is_refused_and_nothing_is_written(other: bytes, tmp_path: Path) -> None:
    (tmp_path / "numbers.txt").write_bytes(other)
    with pytest.raises(DoesNotApply, match=r"hunk 1 of numbers\.txt in 0001-x\.patch is not for the lines from 2 on"):
        series.apply([series.parse("0001-x.patch", PATCH)], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.txt"]
    assert (tmp_path / "numbers.txt").read_bytes() == other


def test_a_file_that_is_missing_or_there_already_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DoesNotApply, match=r"changes numbers\.txt, which is not there"):
        patched(content=None)
    one = series.parse("0001-x.patch", PATCH)
    with pytest.raises(DoesNotApply, match=r"hunk 1 of numbers\.txt"):
        series.patched_files([one, one], {"numbers.txt": SOURCE}.get)
    with pytest.raises(DoesNotApply, match=r"adds letters/a\.txt, which is there already"):
        series.patched_files([one], {"numbers.txt": SOURCE, "letters/a.txt": b""}.get)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (b"index 0123..4567 100644\n", b"old mode 100644\nnew mode 100755\n", r"does more than .* \(old mode 100644\)"),
        (b"+++ b/numbers.txt", b"+++ b/other.txt", "does more than"),
        (b"--- a/numbers.txt\n+++ b/numbers.txt", b"--- a/numbers.txt\n+++ /dev/null", "does more than"),
        (b"@@ -2,3 +2,4 @@ one", b"@@ -2,4 +2,5 @@ one", "shorter than its head says"),
        (b"@@ -2,3 +2,4 @@ one", b"@@ -2,3 +2,3 @@ one", "longer than its head says"),
        (b"@@ -2,3 +2,4 @@ one", b"@@ -2,3 @@ one", "cannot be read"),
        (b"@@ -2,3 +2,4 @@ one", b"@@ -2,3 +3,4 @@ one", "is not for the lines"),
        (b"diff --git", b"diff --gut", "changes no file"),
    ],
)
def test_a_patch_of_another_form_is_refused(before: bytes, after: bytes, message: str) -> None:
    with pytest.raises(DoesNotApply, match=message):
        patched(PATCH.replace(before, after))


def test_a_patch_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DoesNotApply, match="there is no patch in"):
        series.read_series(tmp_path)
    for name in ("0001-a.patch", "0003-c.patch"):
        (tmp_path / name).write_bytes(PATCH)
    with pytest.raises(DoesNotApply, match="patch 0002 is missing: 0003-c"):
        series.read_series(tmp_path)


def test_the_digest_is_of_what_is_changed_not_of_the_header() -> None:
    one = series.digest([series.parse("a", PATCH)])
    assert series.digest([series.parse("b", PATCH.replace(b"Reason: none.", b"Reason: some."))]) == one
    assert series.digest([series.parse("a", PATCH.replace(b"+3\n", b"+4\n"))]) != one


def test_each_header_says_what_why_how_much_and_whether_upstream_may_take_it() -> None:
    """And the table of the README names each patch."""
    readme = (series.PATCHES.parent / "README.md").read_text()
    for patch in series.read_series():
        title = re.search(r"^Subject: \[PATCH\] (.*(?:\n .*)*)", patch.header, re.MULTILINE)
        assert title, patch.name
        assert len(title[1]) <= 72, patch.name
        body = patch.header[title.end() :].strip()
        first, _, reason = body.partition("\n\nReason: ")
        assert len(first) > 80, f"{patch.name} has no description"
        assert re.search(r"^Measurement: .", reason, re.MULTILINE), patch.name
        upstream = re.search(r"^Upstream: ((not )?fit)\b", reason, re.MULTILINE)
        assert upstream, patch.name
        assert f"| {patch.name[:4]} | {title[1]} | {upstream[1]} |\n" in readme


def files_of(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }


def test_the_series_applies_to_the_real_source_as_git_applies_it(real_sdist: Path, tmp_path: Path) -> None:
    """And exported again it is the same, byte for byte."""
    original = files_of(source.unpack(real_sdist, tmp_path / "original"))
    ours = files_of(source.unpack_and_patch(real_sdist, tmp_path / "ours"))
    assert commits.unpack(tmp_path / "commits", real_sdist) == len(series.read_series())
    assert files_of(tmp_path / "commits") == ours
    changed = {file.path for patch in series.read_series() for file in patch.files}
    assert {path for path in ours if ours[path] != original.get(path)} == changed
    exported = tmp_path / "patches"
    exported.mkdir()
    commits.export(tmp_path / "commits", exported)
    # The series for GPUs lies in a folder below, and is not exported from these commits.
    assert files_of(exported) == {name: text for name, text in files_of(series.PATCHES).items() if "/" not in name}


@pytest.fixture
def small(tmp_path: Path) -> Callable[[bytes], Path]:
    """Makes an archive of Horovod's name that holds one file."""

    def archive(content: bytes) -> Path:
        tree = tmp_path / "made" / "horovod-0.28.1"
        tree.mkdir(parents=True, exist_ok=True)
        (tree / "numbers.txt").write_bytes(content)
        subprocess.run(["tar", "czf", tmp_path / "small.tar.gz", "-C", tree.parent, tree.name], check=True)
        return tmp_path / "small.tar.gz"

    return archive


def test_an_edited_commit_is_exported_and_an_edit_without_commit_is_not(
    small: Callable[[bytes], Path], tmp_path: Path
) -> None:
    patches, repository = tmp_path / "patches", tmp_path / "source"
    patches.mkdir()
    assert commits.unpack(repository, small(SOURCE), patches) == 0
    with pytest.raises(BuildError, match=r"is there already\. Export your edits and remove it"):
        commits.unpack(repository, small(SOURCE), patches)
    (repository / "numbers.txt").write_bytes(SOURCE.replace(b"three", b"3"))
    with pytest.raises(BuildError, match=r"edits that are in no commit:\n M numbers\.txt"):
        commits.export(repository, patches)
    commits.git(repository, "commit", "--all", "--message", "Write a digit")
    assert commits.export(repository, patches) == ["0001-Write-a-digit.patch"]
    assert b"-three\n+3\n" in (patches / "0001-Write-a-digit.patch").read_bytes()
    commits.git(repository, "mv", "numbers.txt", "digits.txt")
    commits.git(repository, "commit", "--all", "--message", "Rename")
    with pytest.raises(BuildError, match="cannot be applied by series.py"):
        commits.export(repository, patches)
    assert [path.name for path in patches.iterdir()] == ["0001-Write-a-digit.patch"]
    with pytest.raises(BuildError, match="Make it first: make horovod-source"):
        commits.export(tmp_path / "nowhere", patches)


def test_a_build_of_another_source_is_refused(small: Callable[[bytes], Path], tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"for Horovod 0\.28\.1, and this is another source: 0001-.* is not there"):
        source.unpack_and_patch(small(SOURCE), tmp_path / "out")


def test_the_source_is_fetched_once_and_a_damaged_one_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def download(into: Path, helpers: object) -> Path:
        downloads.append(into)
        (into / "horovod-0.28.1.tar.gz").write_bytes(b"source")
        return into / "horovod-0.28.1.tar.gz"

    downloads: list[Path] = []
    monkeypatch.setattr(source, "download_sdist", download)
    monkeypatch.setattr(source, "locked_hashes", lambda: {wheel_cache.sha256(tmp_path / "same")})
    (tmp_path / "same").write_bytes(b"source")
    for _ in range(2):
        assert source.fetch_sdist(tmp_path / "cache").read_bytes() == b"source"
    assert len(downloads) == 1
    (tmp_path / "cache" / "horovod-0.28.1.tar.gz").write_bytes(b"sour")
    assert source.fetch_sdist(tmp_path / "cache").read_bytes() == b"source"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["horovod-0.28.1.tar.gz"]
