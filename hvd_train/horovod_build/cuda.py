"""A Horovod for NVIDIA's GPUs, from the packages that tensorflow[and-cuda] brings: no toolkit, no nvcc, no root, no GPU.

The headers and libraries of NCCL and of the CUDA runtime come from packages, and NVRTC compiles the kernels (nvrtc.py).
patches/cuda is a series of its own, applied after patches/, so that a build for CPUs does not depend on it.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from hvd_train.horovod_build import nvrtc, series
from hvd_train.horovod_build.messages import BuildError, say

PATCHES = series.PATCHES / "cuda"
OPS = "horovod/common/ops/cuda"
# What the library asks NCCL for. A build that lost one of them would average on CPUs in silence.
NCCL_SYMBOLS = (
    "ncclAllReduce",
    "ncclAllGather",
    "ncclBroadcast",
    "ncclReduceScatter",
    "ncclCommInitRank",
)
# site-packages/horovod/tensorflow/mpi_lib.*.so -> site-packages/nvidia, where the packages lie.
RUN_PATHS = tuple(f"$ORIGIN/../../nvidia/{name}/lib" for name in ("nccl", "cuda_runtime"))


def version_of(package: str) -> str:
    """Of an installed package. Raises BuildError."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise BuildError(
            f"{package} is not installed here, and a Horovod for GPUs is built from it. Run `make setup GPU=cuda`."
        ) from None


def file_of(package: str, name: str) -> Path:
    """The file of an installed package whose path ends so. Raises BuildError."""
    version = version_of(package)
    found = next((file for file in metadata.files(package) or [] if str(file).endswith(name)), None)
    if found is None:
        raise BuildError(f"{package} {version} has no {name}: another version than the locked one?")
    return Path(str(found.locate()))


def include_folders() -> list[Path]:
    """Of the runtime, of the compiler's own headers (crt/), of what those include (nv/), and of NCCL."""
    return [
        file_of("nvidia-cuda-runtime-cu12", "/include/cuda_runtime.h").parent,
        file_of("nvidia-cuda-nvcc-cu12", "/include/crt/host_config.h").parent.parent,
        file_of("nvidia-cuda-cccl-cu12", "/include/nv/target").parent.parent,
        file_of("nvidia-nccl-cu12", "/include/nccl.h").parent,
    ]


def apply_series(tree: Path) -> None:
    """Apply patches/cuda to a source that has the other series. Raises BuildError.

    Every line of a hunk must be there, once, as in that series. But it may have moved: the other series grows.
    """
    try:
        for patch in series.read_series(PATCHES):
            files = [
                file if file.is_new else _moved(patch.name, file, (tree / file.path).read_bytes())
                for file in patch.files
            ]
            series.apply([replace(patch, files=tuple(files))], tree)
    except (series.DoesNotApply, OSError) as error:
        raise BuildError(f"The patches for GPUs are for another source: {error}.") from None


def _moved(name: str, file: series.FilePatch, content: bytes) -> series.FilePatch:
    """`file` with its hunks where their lines are in `content`. Raises DoesNotApply unless they are there once."""
    lines = content.splitlines(keepends=True)
    hunks: list[series.Hunk] = []
    for number, hunk in enumerate(file.hunks, 1):
        length = len(hunk.before)
        places = [at for at in range(len(lines) - length + 1) if tuple(lines[at : at + length]) == hunk.before]
        if len(places) != 1:
            raise series.DoesNotApply(
                f"the lines of hunk {number} of {file.path} in {name} are there {len(places)} times"
            )
        growth = sum(len(earlier.after) - len(earlier.before) for earlier in hunks)
        hunks.append(replace(hunk, start=places[0] + 1, new_start=places[0] + 1 + growth))
    return replace(file, hunks=tuple(hunks))


def prepare(tree: Path, work: Path) -> dict[str, str]:
    """Patch the source for GPUs and compile its kernels. Returns the variables for its build. Raises BuildError."""
    apply_series(tree)
    includes = include_folders()
    folder = tree / OPS
    text = nvrtc.device_source((folder / "cuda_kernels.cu").read_text(), (folder / "cuda_kernels.h").read_text())
    library = file_of("nvidia-cuda-nvrtc-cu12", "/lib/libnvrtc.so.12")
    images = nvrtc.compile_images(library, text, includes[:1])
    nvrtc.write_images(images, folder / "kernel_images.h")
    say(f"  CUDA kernels for {', '.join(f'sm_{image.capability}' for image in images if not image.is_ptx)}, and PTX")
    # The packages have libraries under their full names alone, and the linker looks for short ones.
    libraries = work / "cuda-libraries"
    libraries.mkdir()
    (libraries / "libnccl.so").symlink_to(file_of("nvidia-nccl-cu12", "/lib/libnccl.so.2"))
    (libraries / "libcudart.so").symlink_to(file_of("nvidia-cuda-runtime-cu12", "/lib/libcudart.so.12"))
    return {
        "HOROVOD_GPU_OPERATIONS": "NCCL",
        "HOROVOD_NCCL_INCLUDE": str(includes[-1]),
        "HOROVOD_NCCL_LIB": str(libraries),
        "HOROVOD_NCCL_LINK": "shared",
        "HVD_TRAIN_CUDA_INCLUDE": ";".join(map(str, includes)),
        "HVD_TRAIN_CUDA_RUNTIME": str(libraries / "libcudart.so"),
    }


def identity() -> str:
    """What the binary depends on beyond a build for CPUs, for its key in the cache."""
    versions = [version_of(package) for package in ("nvidia-cuda-runtime-cu12", "nvidia-nccl-cu12")]
    parts = hashlib.sha256(repr([patch.files for patch in series.read_series(PATCHES)]).encode())
    parts.update(repr((nvrtc.CAPABILITIES, nvrtc.PTX_CAPABILITY, nvrtc.PRELUDE, nvrtc.kernels())).encode())
    return f"cuda{versions[0]}-nccl{versions[1]}-{parts.hexdigest()[:8]}"


def run_path(before: str, work: Path) -> str:
    """The library's run path: that from before without the folders of its build, then the packages."""
    kept = [part for part in before.split(":") if part and not part.startswith(str(work)) and "/nvidia/" not in part]
    return ":".join([*kept, *RUN_PATHS])


def check(library: Path) -> None:
    """Raise BuildError unless the built `library` uses NCCL."""

    def asked(*command: str) -> str:
        done = subprocess.run([*command, str(library)], capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise BuildError(f"{command[0]} cannot read {library.name}: {done.stderr.strip()}")
        return done.stdout

    symbols = set(re.findall(r"\bU (\w+)", asked("nm", "-D", "--undefined-only")))
    missing = [name for name in NCCL_SYMBOLS if name not in symbols]
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", asked("readelf", "-d"))
    missing += [name for name in ("libnccl.so.2", "libcudart.so.12") if name not in needed]
    if missing:
        raise BuildError(f"{library.name} was built without NCCL: it does not ask for {', '.join(missing)}.")
