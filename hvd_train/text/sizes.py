"""How a number of bytes is written for a person. The one rule, for all of hvd_train:

- Memory, and what lies in it or is limited by it, counts in powers of 1024: KiB, MiB, GiB. So do /proc, cgroups, Slurm and drivers.
- Files, and what a disk or a network carries in a second, count in powers of 1000: MB, GB. So do vendors of both.

A flag or field whose name ends in `_mb` is memory: its unit is MiB.
"""

from __future__ import annotations

KIB, MIB, GIB = 2**10, 2**20, 2**30


def memory(num_bytes: float) -> str:
    """Bytes of memory.

    >>> memory(0), memory(1536), memory(1_530_000), memory(12_345_678_901)
    ('0.0 KiB', '1.5 KiB', '1.5 MiB', '11.50 GiB')
    """
    if num_bytes < MIB:
        return f"{num_bytes / KIB:.1f} KiB"
    return f"{num_bytes / MIB:.1f} MiB" if num_bytes < GIB else f"{num_bytes / GIB:,.2f} GiB"


def file_size(num_bytes: float) -> str:
    """Bytes of a file or a transfer.

    >>> file_size(1_530_000), file_size(12_345_678_901)
    ('1.5 MB', '12,346 MB')
    """
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes < 1e7 else f"{num_bytes / 1e6:,.0f} MB"
