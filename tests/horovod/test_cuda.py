"""The build for GPUs as far as it comes without the packages of CUDA, and the built environment where there is one."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from hvd_train.horovod_build import BuildError, cuda, nvrtc, series, source

REPOSITORY = Path(__file__).resolve().parents[2]
KERNELS = "horovod/common/ops/cuda/nvrtc_kernels.cc"


def added() -> dict[str, bytes]:
    return series.added_files(series.read_series(cuda.PATCHES))


def test_the_series_for_gpus_applies_after_the_other_and_is_no_part_of_its_digest(
    real_sdist: Path, tmp_path: Path
) -> None:
    tree = source.unpack_and_patch(real_sdist, tmp_path)
    cuda.apply_series(tree)
    assert (tree / KERNELS).read_bytes() == added()[KERNELS]
    # Without a GPU it is called from CPUs, and Horovod has it for GPUs alone then.
    ops = (tree / "horovod" / "tensorflow" / "mpi_ops.cc").read_text()
    join = ops[ops.index('REGISTER_KERNEL_BUILDER(Name("HorovodJoin")') : ops.index('REGISTER_OP("HorovodJoin")')]
    assert re.findall(r"#\w+|DEVICE_\w+", join) == ["DEVICE_GPU", "#endif", "DEVICE_CPU"]
    # No toolkit is looked for: a CUDA that is on PATH by chance would be another one.
    text = (tree / "CMakeLists.txt").read_text()
    assert "enable_language(CUDA)" not in text
    assert "find_package(CUDAToolkit" not in text
    assert all("/cuda/" not in patch.name for patch in series.read_series())


def test_lines_that_the_other_series_moves_are_found_and_lines_that_it_changes_are_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    patches = tmp_path / "patches"
    patches.mkdir()
    hunks = "@@ -1,2 +1,3 @@\n one\n+1.5\n two\n@@ -4,2 +5,2 @@ three\n four\n-five\n+5\n"
    (patches / "0001-x.patch").write_text(f"x\n\ndiff --git a/n b/n\n--- a/n\n+++ b/n\n{hunks}")
    monkeypatch.setattr(cuda, "PATCHES", patches)
    file = tmp_path / "n"
    file.write_text("zero\none\ntwo\nthree\nand more\nfour\nfive\nsix\n")
    cuda.apply_series(tmp_path)
    assert file.read_text() == "zero\none\n1.5\ntwo\nthree\nand more\nfour\n5\nsix\n"
    for other, times in (("one\ntwo\none\ntwo\nfour\nfive\n", 2), ("one\n2\nfour\nfive\n", 0)):
        file.write_text(other)
        with pytest.raises(BuildError, match=rf"the lines of hunk 1 of n in 0001-x\.patch are there {times} times"):
            cuda.apply_series(tmp_path)
        assert file.read_text() == other


def test_the_kernels_are_cut_out_of_the_real_file(real_sdist: Path, tmp_path: Path) -> None:
    folder = source.unpack(real_sdist, tmp_path) / cuda.OPS
    kernels, header = (folder / "cuda_kernels.cu").read_text(), (folder / "cuda_kernels.h").read_text()
    device = nvrtc.device_source(kernels, header)
    assert "#define BATCHED_D2D_CAPACITY 160" in device
    assert "CudaImpl(" not in device
    assert "std::" not in device
    assert len(re.findall(r"^__global__ void", device, re.MULTILINE)) == 5
    with pytest.raises(BuildError, match=r"not that of Horovod 0\.28\.1"):
        nvrtc.device_source(kernels.replace("void ScaleBufferCudaImpl", "int ScaleBufferCudaImpl"), header)


def test_the_launches_find_the_kernels_where_the_table_has_them() -> None:
    """The order of kernels() and the numbers in the C++ file are one order."""
    text, names = added()[KERNELS].decode(), nvrtc.kernels()
    places = {name: int(number) for name, number in re.findall(r"([A-Z0-9_]+) = (\d+)", text)}
    assert names[places["COPY"]] == "batched_memcpy_k<8>"
    assert names[places["SCALE_HALF2"]] == "scale_buffer_half2_k"
    types = dict(re.findall(r"case HOROVOD_(\w+):\n +return (\d+);", text))
    elements = {
        "UINT8": "uint8_t",
        "INT8": "int8_t",
        "INT32": "int32_t",
        "INT64": "int64_t",
        "FLOAT16": "__half",
        "FLOAT32": "float",
        "FLOAT64": "double",
    }
    assert types.keys() == elements.keys()
    for name, element in elements.items():
        assert names[places["SCALE"] + int(types[name])].startswith(f"scale_buffer_k<{element}, ")
        assert names[places["SCALED_COPY"] + int(types[name])].startswith(f"batched_scaled_memcpy_k<{element}, 8, ")
    assert len(names) == places["SCALED_COPY"] + len(elements)
    assert "BLOCKS_PER_COPY = 8;" in text


def test_the_table_of_images(tmp_path: Path) -> None:
    images = [nvrtc.Image(80, False, b"\x01\xff", ("a", "b")), nvrtc.Image(90, True, b"\x02", ("a", "b"))]
    nvrtc.write_images(images, tmp_path / "table.h")
    text = (tmp_path / "table.h").read_text()
    assert "IMAGE_0[] = {1,255};" in text
    assert "{80, false, IMAGE_0}" in text
    assert "{90, true, IMAGE_1}" in text
    assert 'KERNEL_NAMES[] = {\n    "a",\n    "b",\n};' in text


def test_a_missing_package_names_the_way_out() -> None:
    with pytest.raises(BuildError, match=r"no-such-package is not installed here.*make setup GPU=cuda"):
        cuda.file_of("no-such-package", "/lib/x.so")
    with pytest.raises(BuildError, match=r"numpy .* has no /lib/x\.so"):
        cuda.file_of("numpy", "/lib/x.so")


def test_the_run_path_leads_to_the_packages_and_not_to_the_build() -> None:
    work = Path("/tmp/work")
    before = (
        "$ORIGIN/../../../..:/tmp/work/cuda-libraries:/venv/lib/python3.11/site-packages/nvidia/nccl/lib:/opt/mpi/lib"
    )
    packages = "$ORIGIN/../../nvidia/nccl/lib:$ORIGIN/../../nvidia/cuda_runtime/lib"
    assert cuda.run_path(before, work) == f"$ORIGIN/../../../..:/opt/mpi/lib:{packages}"


@pytest.mark.parametrize("lost", [None, "ncclReduceScatter", "libnccl.so.2"])
def test_a_library_without_nccl_is_refused(monkeypatch: pytest.MonkeyPatch, lost: str | None) -> None:
    symbols = "".join(f"                 U {name}\n" for name in cuda.NCCL_SYMBOLS if name != lost)
    needed = "".join(
        f" 0x01 (NEEDED)  Shared library: [{name}]\n" for name in ("libnccl.so.2", "libcudart.so.12") if name != lost
    )
    answers = {"nm": symbols, "readelf": needed}
    monkeypatch.setattr(
        cuda.subprocess,
        "run",
        lambda command, **_: SimpleNamespace(returncode=0, stdout=answers[command[0]], stderr=""),
    )
    if lost is None:
        cuda.check(Path("mpi_lib.so"))
    else:
        with pytest.raises(BuildError, match=rf"built without NCCL: it does not ask for {re.escape(lost)}\."):
            cuda.check(Path("mpi_lib.so"))


def locked(name: str) -> dict[str, str]:
    """The versions in a lock, by package."""
    text = (REPOSITORY / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ ;]+)", text, re.MULTILINE))


def test_the_lock_for_gpus_is_that_for_cpus_with_another_tensorflow() -> None:
    run, gpu = locked("run"), locked("gpu")
    assert gpu.pop("tensorflow") == run.pop("tensorflow-cpu")
    own = {name for name in gpu if name.startswith("nvidia-")}
    assert {"nvidia-nccl-cu12", "nvidia-cudnn-cu12", "nvidia-cuda-nvrtc-cu12", "nvidia-ml-py"} <= own
    assert {name: version for name, version in gpu.items() if name not in own} == run
    blocks = re.split(r"^(?=[a-z0-9])", (REPOSITORY / "requirements" / "gpu.txt").read_text(), flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    parts = {name: version for name, version in gpu.items() if re.match(r"nvidia-cuda-\w+-cu12", name)}
    assert {version.rpartition(".")[0] for version in parts.values()} == {"12.9"}, "one release of CUDA"


def environment() -> Path:
    """The environment of `make setup GPU=cuda`. Skips where there is none."""
    place = Path(os.environ.get("CUDA_VENV", REPOSITORY / ".venv-cuda"))
    if not (place / ".hvd-train-ready").is_file():
        pytest.skip(f"there is no environment for GPUs at {place}: make setup GPU=cuda makes it")
    return place


def test_the_built_environment_has_nccl_and_loads_without_a_gpu() -> None:
    python = environment() / "bin" / "python"
    code = (
        "import tensorflow as tf, horovod.tensorflow as hvd; from horovod.tensorflow import mpi_ops; "
        "print(tf.test.is_built_with_cuda(), hvd.nccl_built() > 20000, hvd.mpi_built())"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True", "True", "True"], done.stderr
    library = next((environment() / "lib").glob("python3*/site-packages/horovod/tensorflow/mpi_lib.*.so"))
    cuda.check(library)
    content = library.read_bytes()
    assert all(kernel.partition("<")[0].encode() in content for kernel in nvrtc.kernels())
