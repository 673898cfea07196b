"""Plain CSV text in blocks of whole lines, parsed by pyarrow on several threads, and given in the order of the file.

pyarrow's own streaming reader parses one block after the other on one thread: that is most of the time of a prediction.
Parsing releases Python's lock, so threads suffice. At most one block more than there are threads is held at once.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.csv

# More than this, and the thread that takes the blocks is what the others wait for.
MAX_THREADS = 8
# Of all blocks that are parsed at once. A column costs 2 KiB in each, however few rows a block has.
MAX_COLUMNS = 100_000


def num_threads(num_columns: int) -> int:
    """Threads that parse a table of so many columns on the cores of this process."""
    return max(1, min(len(os.sched_getaffinity(0)), MAX_THREADS, MAX_COLUMNS // num_columns))


def parsed_blocks(
    read: Callable[[int], bytes],
    block_bytes: int,
    *,
    names: list[str],
    parse_options: Any,
    convert_options: Any,
) -> Iterator[Any]:
    """Record batches of the columns that `convert_options` include, in order. `read` gives the next bytes, or none.

    Raises pyarrow.ArrowException for text that is no table of these columns, and whatever `read` raises.
    """
    options = pyarrow.csv.ReadOptions(use_threads=False, column_names=names, block_size=2**31 - 1)

    def parsed(block: bytes) -> Any:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block), read_options=options, parse_options=parse_options, convert_options=convert_options
        )
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else None

    threads = num_threads(len(names))
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="csv") as pool:
        try:
            for block in whole_lines(read, block_bytes):
                waiting.append(pool.submit(parsed, block))
                if len(waiting) > threads and (batch := waiting.popleft().result()) is not None:
                    yield batch
            while waiting:
                if (batch := waiting.popleft().result()) is not None:
                    yield batch
        finally:
            for future in waiting:
                future.cancel()


def whole_lines(read: Callable[[int], bytes], block_bytes: int) -> Iterator[bytes]:
    """The text in blocks of about `block_bytes` that end with a line. Blocks of empty lines are left out.

    A line that is longer than a block makes its block longer: `pyarrow.ArrowInvalid` from twice that length on, as of
    the streaming reader.
    """
    carry = b""
    while data := read(block_bytes):
        end = data.rfind(b"\n") + 1
        if not end:
            carry += data
            if len(carry) > 2 * block_bytes:
                raise pa.ArrowInvalid(f"a line is longer than {2 * block_bytes} bytes: for the careful reader")
            continue
        block, carry = carry + data[:end], data[end:]
        if block.strip(b"\r\n"):
            yield block
    if carry.strip(b"\r\n"):
        yield carry
