"""Bytes as people read them: memory by 1024, files by 1000."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hvd_train
from hvd_train.text import file_size, memory

PACKAGE = Path(hvd_train.__file__).parent
# A number that is put into a text with a unit behind it.
OWN_UNIT = re.compile(r"\{[^{}\"]*\} ?[KMG]i?B\b(?!/s)")
# Sizes of messages are exact powers of two, and a rate of a network is one of 1000 with its own decimals.
WITH_THEIR_OWN = {"text/sizes.py", "bench/presentation.py", "bench/hosts/presentation.py"}


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0.0 KiB"),
        (1536, "1.5 KiB"),
        (2**20, "1.0 MiB"),
        (2**30 - 2**20, "1023.0 MiB"),
        (2**30, "1.00 GiB"),
        (1.5 * 2**40, "1,536.00 GiB"),
    ],
)
def test_memory_counts_in_powers_of_1024(num_bytes: float, text: str) -> None:
    assert memory(num_bytes) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(0, "0.0 MB"), (1_530_000, "1.5 MB"), (1e7, "10 MB"), (12_345_678_901, "12,346 MB")]
)
def test_files_count_in_powers_of_1000(num_bytes: float, text: str) -> None:
    assert file_size(num_bytes) == text


def test_no_other_module_writes_units_of_its_own() -> None:
    found = {
        f"{path.relative_to(PACKAGE)}: {unit}"
        for path in PACKAGE.rglob("*.py")
        if str(path.relative_to(PACKAGE)) not in WITH_THEIR_OWN
        for unit in OWN_UNIT.findall(path.read_text())
    }
    assert found == {
        "tune/space.py: {fusion:g} MiB",  # a flag's value as it was given
        "schedulers/lsf.py: {memory}MB",  # for bsub
        "data/sources/text_stream.py: {MAX_LINE_BYTES >> 20} MiB",
    }
