"""The frame of the fuzzers: inputs made from a seed, each tried within limits, and the failing one kept in a file.

    def test_a_damaged_note_is_refused_or_read_right(tmp_path):
        fuzz("note", damaged(GOOD), lambda data: check(tmp_path, data))

`make fuzz-smoke` tries the same inputs every time, for two seconds a fuzzer; `make fuzz` others, for FUZZ_SECONDS (600) a fuzzer, and
prints its seed. `check` raises where something is wrong. A failing input is written to fuzz-failures/, and the command
that tries it again is printed. An input may take LIMIT_S, and the process MEMORY_BYTES more than at the start.
"""

from __future__ import annotations

import copy
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

SECONDS = float(os.environ.get("FUZZ_SECONDS", "2"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
INPUT = os.environ.get("FUZZ_INPUT")
# Of the processor, on which others may be at work, and by the clock.
LIMIT_S, LIMIT_BY_CLOCK_S = 10.0, 120.0
MEMORY_BYTES = 1 << 30
FAILURES = Path(__file__).resolve().parents[2] / "fuzz-failures"

Make = Callable[[random.Random], bytes]
Mutate = Callable[[random.Random, bytearray], None]


class TooSlow(BaseException):
    """No `except Exception` of a reader hides it."""


def fuzz(name: str, make: Make, check: Callable[[bytes], object], *, suffix: str = ".bin") -> None:
    """Try inputs of `make` with `check` until the time is up; AssertionError with the input's file where it raises."""
    if INPUT:
        _limited(check, Path(INPUT).read_bytes())
        return
    began, tried = time.monotonic(), 0
    outcomes: dict[str, int] = {}
    while time.monotonic() - began < SECONDS or tried < 20:
        data = make(random.Random(f"{name} {SEED} {tried}"))
        try:
            outcome = str(_limited(check, data))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            FAILURES.mkdir(exist_ok=True)
            kept = FAILURES / f"{name}-{SEED}-{tried}{suffix}"
            kept.write_bytes(data)
            test = os.environ.get("PYTEST_CURRENT_TEST", "tests/fuzz").split(" ")[0]
            raise AssertionError(
                f"{type(error).__name__}: {error}\nThe input is {kept}. Try it again:\n"
                f"  FUZZ_INPUT={kept} python -m pytest {test}"
            ) from error
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        tried += 1
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(outcomes.items()))
    print(f"{name}: {tried:,} inputs in {time.monotonic() - began:.0f} s, seed {SEED}: {told}")


def _limited(check: Callable[[bytes], object], data: bytes) -> object:
    """`check(data)` within LIMIT_S and MEMORY_BYTES; what takes more raises TooSlow or MemoryError."""

    def too_slow(_number: int, _frame: FrameType | None) -> None:
        raise TooSlow(f"it took more than {LIMIT_S:g} s of the processor, or {LIMIT_BY_CLOCK_S:g} s")

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    previous = [signal.signal(number, too_slow) for number in (signal.SIGPROF, signal.SIGALRM)]
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, before[1]))
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_BY_CLOCK_S)
    try:
        return check(data)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), previous, strict=True):
            signal.signal(number, handler)


def require_clear(error: Exception, path: Path) -> None:
    """AssertionError unless the message names the file, in one line that a terminal shows as it is."""
    assert str(path) in str(error), error
    assert str(error).isprintable(), error


# --- Damages of bytes -------------------------------------------------------------------------------------------------


def flip_bit(rng: random.Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def set_byte(rng: random.Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])


def cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data) + 1) :]


def delete(rng: random.Random, data: bytearray) -> None:
    start = rng.randrange(len(data) + 1)
    del data[start : start + rng.choice([1, 2, 4, 8, 64])]


def insert(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.choice([1, 2, 4, 8, 64]))


def move(rng: random.Random, data: bytearray) -> None:
    """A block written to the wrong place."""
    size = rng.choice([1, 2, 4, 16, 64, 512])
    start, end = (rng.randrange(max(1, len(data) - size + 1)) for _ in range(2))
    data[end : end + size] = data[start : start + size]


def zeros(rng: random.Random, data: bytearray) -> None:
    """A block that never reached the disk."""
    size, start = rng.choice([4, 16, 64, 512, 4096]), rng.randrange(len(data) + 1)
    data[start : start + size] = bytes(len(data[start : start + size]))


BYTES: tuple[Mutate, ...] = (flip_bit, flip_bit, flip_bit, set_byte, cut, delete, insert, move, zeros)


def flip_within(good: bytes, *marks: bytes, reach: int) -> Mutate:
    """A bit of the `reach` bytes from any place where one of `marks` stands: headers are a small share of a file."""
    places = [at for mark in marks for at in range(len(good)) if good.startswith(mark, at)]

    def mutate(rng: random.Random, data: bytearray) -> None:
        at = min(rng.choice(places) + rng.randrange(reach), len(data) - 1)
        if data:
            data[at] ^= 1 << rng.randrange(8)

    return mutate


def damaged(good: bytes, *more: Mutate) -> Make:
    """`good` with one damage to its bytes, sometimes two or three. `more` are as likely as all of BYTES."""

    def make(rng: random.Random) -> bytes:
        data = bytearray(good)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            choices: Sequence[Mutate] = more if more and rng.random() < 0.5 else BYTES
            rng.choice(choices)(rng, data)
        return bytes(data)

    return make


# --- Damages of a document's structure --------------------------------------------------------------------------------

ODD = (None, True, False, 0, 1, -1, 2, 10**6, 10**30, 2**63, 1.5, -0.0, 1e308, float("nan"), float("inf"), "", "x", "1",
       "../../etc/hostname", "/etc/hostname", "\x1b[31m", "\0", "\ud800", [], [0], [[]], {}, {"a": 1})  # fmt: skip


def change_document(rng: random.Random, document: object) -> object:
    """The document with one value, somewhere, replaced, removed, renamed, doubled, or buried in lists."""
    places = list(_places(document))
    if not places:
        return copy.deepcopy(rng.choice(ODD))
    holder, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind <= 1:
        holder[key] = copy.deepcopy(rng.choice(ODD))  # type: ignore[index]
    elif kind == 2:
        del holder[key]  # type: ignore[attr-defined]
    elif kind == 3 and isinstance(holder, dict):
        name = rng.choice([f"{key}s", "", "unknown", str(rng.choice(list(holder)))])
        holder[name] = holder.pop(key)
    elif kind == 4 and isinstance(holder, list):
        holder.insert(key, holder[key])
    else:
        value = holder[key]  # type: ignore[index]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        holder[key] = value + rng.choice([1, -1, 0.5, 1000]) if number else [value]  # type: ignore[index,operator]
    return document


def _places(value: object) -> list[tuple[object, object]]:
    """(list or dictionary, key) of each value in a document; of long lists, some."""
    found: list[tuple[object, object]] = []
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else [*range(len(value))][:4]
        for key in keys:
            found.append((value, key))
            found += _places(value[key])
    return found
