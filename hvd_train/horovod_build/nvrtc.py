"""The CUDA kernels of Horovod, compiled by NVRTC: NVIDIA's compiler as a library, a package that TensorFlow needs anyway.

nvcc is in no package of CUDA 12, and clang wants a tool of its toolkit. NVRTC needs neither them, nor a GPU, nor root.
It compiles device code alone. So cuda_kernels.cu is cut: its kernels come here, and the functions that start them are a
file of the series in patches/cuda, which finds the compiled kernels in the table that `write_images` writes.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hvd_train.horovod_build.messages import BuildError

# What code of one number runs on: the same first digit, and as much or more behind it. TensorFlow's GPUs begin with 6.0.
CAPABILITIES = (60, 70, 75, 80, 90, 100, 120)
# Code that the driver compiles where none of these fits, as on GPUs that are newer than this list.
PTX_CAPABILITY = 90
# In the order of nvrtc_kernels.cc: what an element is, and what scales it.
ELEMENTS = (
    ("uint8_t", "double"),
    ("int8_t", "double"),
    ("int32_t", "double"),
    ("int64_t", "double"),
    ("__half", "__half"),
    ("float", "float"),
    ("double", "double"),
)
PRELUDE = """\
#include <cuda_fp16.h>
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef int int32_t;
typedef long int64_t;
"""


@dataclass(frozen=True)
class Image:
    """The compiled kernels for one kind of GPU. `names` are those of the kernels in it, in the order of `kernels`."""

    capability: int
    is_ptx: bool
    code: bytes
    names: tuple[str, ...]


def kernels() -> list[str]:
    """The kernels by their names in C++, in the order of nvrtc_kernels.cc."""
    return [
        "batched_memcpy_k<8>",
        "scale_buffer_half2_k",
        *(f"scale_buffer_k<{element}, {scale}>" for element, scale in ELEMENTS),
        *(f"batched_scaled_memcpy_k<{element}, 8, {scale}>" for element, scale in ELEMENTS),
    ]


def device_source(kernels_cu: str, header: str) -> str:
    """The device code of cuda_kernels.cu, with what it needs of its header. Raises BuildError for another file."""
    shared = re.search(r"^#define BATCHED_D2D_CAPACITY.*?^};\n", header, re.DOTALL | re.MULTILINE)
    code, num_cut = re.subn(r"^void \w+CudaImpl\(.*?^}\n", "", kernels_cu, flags=re.DOTALL | re.MULTILINE)
    if shared is None or num_cut != 3 or "<<<" in code:
        raise BuildError("cuda_kernels.cu is not that of Horovod 0.28.1: its kernels cannot be cut out for NVRTC.")
    # The header's part opens the two namespaces.
    return PRELUDE + shared[0] + "}}\n" + re.sub(r"^#include.*\n", "", code, flags=re.MULTILINE)


class Nvrtc:
    """The library."""

    def __init__(self, library: Path) -> None:
        try:
            self._library = ctypes.CDLL(str(library))
        except OSError as error:
            raise BuildError(f"NVRTC, which compiles the CUDA kernels, cannot be loaded: {error}.") from None

    def compile(self, source: str, capability: int, include: Sequence[Path], *, ptx: bool = False) -> Image:
        """The kernels of `source` for one kind of GPU. Raises BuildError with what the compiler said."""
        program = ctypes.c_void_p()
        self._call("nvrtcCreateProgram", ctypes.byref(program), source.encode(), b"cuda_kernels.cu", 0, None, None)
        try:
            expressions = [f"horovod::common::{kernel}".encode() for kernel in kernels()]
            for expression in expressions:
                self._call("nvrtcAddNameExpression", program, expression)
            options = [
                f"--gpu-architecture={'compute' if ptx else 'sm'}_{capability}",
                "--std=c++17",
                *(f"--include-path={folder}" for folder in include),
            ]
            arguments = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            if self._library.nvrtcCompileProgram(program, len(options), arguments):
                raise BuildError(f"The CUDA kernels did not compile for sm_{capability}:\n{self._log(program)}")
            code = self._bytes("nvrtcGetPTX" if ptx else "nvrtcGetCUBIN", program)
            names = []
            for expression in expressions:
                name = ctypes.c_char_p()
                self._call("nvrtcGetLoweredName", program, expression, ctypes.byref(name))
                names.append((name.value or b"").decode())
            return Image(capability, ptx, code, tuple(names))
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
            raise BuildError(f"{function} failed: {self._library.nvrtcGetErrorString(code).decode()}.")

    def _bytes(self, function: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"{function}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(function, program, buffer)
        return buffer.raw

    def _log(self, program: ctypes.c_void_p) -> str:
        return self._bytes("nvrtcGetProgramLog", program).rstrip(b"\0").decode(errors="replace").strip()


def compile_images(library: Path, source: str, include: Sequence[Path]) -> list[Image]:
    """The kernels for every kind of GPU. They have the same names in each."""
    nvrtc = Nvrtc(library)
    images = [nvrtc.compile(source, capability, include) for capability in CAPABILITIES]
    images.append(nvrtc.compile(source, PTX_CAPABILITY, include, ptx=True))
    for image in images:
        missing = [name for name in image.names if name.encode() not in image.code]
        if missing or image.names != images[0].names:
            raise BuildError(f"NVRTC compiled other kernels for sm_{image.capability} than were asked for: {missing}.")
    return images


def write_images(images: Sequence[Image], header: Path) -> None:
    """The table that nvrtc_kernels.cc includes."""
    parts = ["// Written by horovod/nvrtc.py of hvd_train.\n"]
    for number, image in enumerate(images):
        values = ",".join(map(str, image.code))
        parts.append(f"alignas(16) const unsigned char IMAGE_{number}[] = {{{values}}};\n")
    rows = "".join(
        f"    {{{image.capability}, {str(image.is_ptx).lower()}, IMAGE_{number}}},\n"
        for number, image in enumerate(images)
    )
    names = "".join(f'    "{name}",\n' for name in images[0].names)
    parts.append(f"const KernelImage KERNEL_IMAGES[] = {{\n{rows}}};\n")
    parts.append(f"const char* const KERNEL_NAMES[] = {{\n{names}}};\n")
    header.write_text("".join(parts))
