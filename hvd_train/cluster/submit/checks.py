"""What would end a job after a night in the queue, looked at before it is submitted. No TensorFlow is loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from hvd_train.cluster.submit.spec import JOB, JobSpec
from hvd_train.config import RunConfig
from hvd_train.data import read_metadata
from hvd_train.errors import UserError
from hvd_train.runs import RunDir, holder
from hvd_train.training import batch_sizes

# More than any table has: what depends on the number of rows is looked at when they are known.
MANY_ROWS = 1 << 40
# Directories that are other ones on every machine.
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/run")
# File systems that machines share, by their type in /proc/mounts. fuse.* are looked at by their end.
SHARED = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "beegfs_nodev",
        "ceph",
        "cifs",
        "cvmfs2",
        "fhgfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "pvfs2",
        "smb3",
        "smbfs",
        "virtiofs",
        "wekafs",
    ]
)
LOCAL_FUSE = frozenset(["fuse.fuse-overlayfs", "fuse.squashfuse", "fuseblk", "fuse.portal"])


def require_data(config: RunConfig) -> None:
    """UserError where the table is not there."""
    for flag, path in (("--data", config.table.path), ("--test-data", config.table.test_path)):
        if path is not None and not path.exists():
            raise UserError(f"{flag} {path}: there is no such file or directory.")


def require_ranks(config: RunConfig, num_ranks: int) -> None:
    """ConfigError where so many ranks cannot train with these settings."""
    training, path = config.training, config.table.path
    shards = config.split.num_virtual_shards or batch_sizes.shards_for_batch(training, num_ranks)
    if path is not None and path.is_dir():
        shards = read_metadata(path)["num_virtual_shards"]
    batch_sizes.resolve_batch_sizes(
        training,
        size=num_ranks,
        num_virtual_shards=shards or batch_sizes.MOST_VIRTUAL_SHARDS,
        num_train_rows=MANY_ROWS,
    )


def require_free(spec: JobSpec) -> None:
    """UserError where the run directory is complete or in use. Those with the id of a new job in their name are new."""
    if JOB in spec.run_dir or spec.verb != "train":
        return
    run = RunDir(Path(spec.working_directory) / spec.run_dir)
    if run.done.exists():
        raise UserError(f"{spec.run_dir} is complete: choose another --run-dir.")
    if user := holder(run.path):
        raise UserError(f"{spec.run_dir} is in use by {user}. Wait until it has ended, or choose another --run-dir.")


def require_plain_log(spec: JobSpec) -> None:
    """UserError where a scheduler or bash would replace something in the path of the log besides the id."""
    found = re.search(r"[%$`\n]", spec.log)
    if found and not spec.pods:
        raise UserError(
            f"The log would be {spec.log!r}, but schedulers replace what begins with {found[0]!r} in such a path. Submit from "
            "another directory, or give another --run-dir."
        )


def unseen_paths(paths: Mapping[str, Path], mounts: Path = Path("/proc/mounts")) -> list[str]:
    """A warning for each path, by what it is, that machines of the cluster probably do not see or see as another one."""
    kinds = file_systems(mounts)
    warnings: dict[str, list[str]] = {}
    for what, path in paths.items():
        real = Path(os.path.realpath(path))
        temporary = next((folder for folder in TEMPORARY if real.is_relative_to(folder)), None)
        kind = kind_of(real, kinds)
        if temporary:
            reason = f"{temporary} is another directory on each machine"
        elif kind and kind not in SHARED and not (kind.startswith("fuse") and kind not in LOCAL_FUSE):
            reason = f"this file system ({kind}) is on a disk of this machine"
        else:
            continue
        warnings.setdefault(reason, []).append(f"the {what} {path}")
    return [
        f"The machines of the job may not see {' and '.join(found)}: {reason}." for reason, found in warnings.items()
    ]


def file_systems(mounts: Path) -> dict[Path, str]:
    """The type of each mounted file system. Empty where this cannot be read."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    words = [line.split() for line in lines]
    return {Path(word[1].replace("\\040", " ")): word[2] for word in words if len(word) > 2}


def kind_of(path: Path, kinds: Mapping[Path, str]) -> str:
    """The type of the file system with this path; empty where it is not known."""
    return next((kinds[folder] for folder in [path, *path.parents] if folder in kinds), "")
