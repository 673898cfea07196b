#!/usr/bin/env python3
"""Turn the series of patches into git commits on Horovod's source, to edit them, and back into patches.

    .venv/bin/python scripts/horovod_commits.py unpack [--source DIR]    (or `make horovod-source`)
    .venv/bin/python scripts/horovod_commits.py export [--source DIR]    (or `make horovod-patches`)

`unpack` makes a git repository: the source distribution as the first commit, tagged `upstream`, then one commit a patch.
`export` writes patches/ from the commits after that tag. Unedited commits give the same files, byte for byte.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hvd_train.horovod_build import series, source, wheel_cache
from hvd_train.horovod_build.messages import BuildError, say

DEFAULT_SOURCE = Path(__file__).resolve().parent.parent / "build" / "horovod-source"
TAG = "upstream"
# No setting of the user may change what is written.
FORMAT = ["--unified=3", "--diff-algorithm=histogram", "--no-renames", "--full-index", "--zero-commit", "--no-signature",
          "--no-stat", "--no-numbered", "--no-thread", "--no-cover-letter", "--no-base", "--no-attach", "--no-notes",
          "--no-ext-diff", "--no-textconv", "--no-color", "--no-encode-email-headers", "--subject-prefix=PATCH",
          "--src-prefix=a/", "--dst-prefix=b/"]  # fmt: skip
IDENTITY = {"NAME": "hvd_train", "EMAIL": "hvd_train@example.invalid"}


def git(folder: Path, *arguments: str) -> str:
    """What git prints. Raises BuildError."""
    if not shutil.which("git"):
        raise BuildError("git was not found, and it edits the patches. On Debian or Ubuntu: apt-get install -y git")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_{key}": value for key, value in IDENTITY.items()}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise BuildError(f"git {arguments[0]} failed in {folder}:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout


def unpack(into: Path, sdist: Path, patches: Path = series.PATCHES) -> int:
    """Make the repository `into`. Returns the number of patches. Raises BuildError; then nothing is left of it."""
    if into.exists():
        raise BuildError(f"{into} is there already. Export your edits and remove it: rm -rf {into}")
    into.parent.mkdir(parents=True, exist_ok=True)
    files = sorted(patches.glob("*.patch"))
    with tempfile.TemporaryDirectory(prefix=".new-", dir=into.parent) as fresh:
        root = source.unpack(sdist, Path(fresh))
        git(root, "init", "--quiet", "--initial-branch=hvd_train")
        git(root, "add", "--all", "--force")
        git(root, "commit", "--quiet", "--message", f"Horovod {source.HOROVOD_VERSION}, its source distribution")
        git(root, "tag", TAG)
        if files:
            git(root, "am", "--quiet", "--no-3way", "--keep-cr", "--whitespace=nowarn", *map(str, files))
        root.rename(into)
    return len(files)


def export(repository: Path, patches: Path = series.PATCHES) -> list[str]:
    """Write `patches` from the commits of `repository`. Returns the names of the patches. Raises BuildError."""
    if not (repository / ".git").is_dir():
        raise BuildError(f"There is no source at {repository}. Make it first: make horovod-source")
    if edited := git(repository, "status", "--porcelain"):
        raise BuildError(f"{repository} has edits that are in no commit:\n{edited.rstrip()}\nCommit them, then export.")
    if merges := git(repository, "rev-list", "--merges", f"{TAG}..HEAD"):
        raise BuildError(f"{repository} has merges, and a series has none: {merges.split()[0]}. Rebase on {TAG} first.")
    with tempfile.TemporaryDirectory() as fresh:
        git(repository, "format-patch", "--quiet", *FORMAT, "--output-directory", fresh, TAG)
        written = sorted(Path(fresh).iterdir())
        try:
            series.read_series(Path(fresh))
        except series.DoesNotApply as error:
            raise BuildError(f"These commits cannot be applied by series.py: {error}.") from None
        for old in patches.glob("*.patch"):
            old.unlink()
        for new in written:
            shutil.copy(new, patches / new.name)
    return [path.name for path in written]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["unpack", "export"])
    parser.add_argument("--source", type=Path, default=DEFAULT_SOURCE, help="the repository (%(default)s)")
    given = parser.parse_args()
    try:
        if given.action == "unpack":
            number = unpack(given.source, source.fetch_sdist(wheel_cache.sdist_dir()))
            say(f"{given.source}: Horovod {source.HOROVOD_VERSION} and {number} commits after the tag {TAG}")
        else:
            say("\n".join(export(given.source)))
    except BuildError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
