"""From the times that ranks measured to the figures of a table. Pure arithmetic; seconds in, rates and shares out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Answer = Mapping[str, Any]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed.

    >>> percentile([3.0, 1.0, 2.0, 4.0], 0.5)
    2.0
    """
    ordered = sorted(values)
    position = max(0, -(-int(len(ordered) * share * 1000) // 1000) - 1)
    return ordered[min(position, len(ordered) - 1)]


def num_steps(rank: Answer, number: int, kind: str) -> int:
    return len(rank["kinds"][kind][number]["executions"]) * int(rank["steps_per_execution"])


def step_seconds(ranks: Sequence[Answer], kind: str) -> float:
    """Seconds of a step of this kind: of each round the slowest rank's, of the rounds the median."""
    num_rounds = len(ranks[0]["kinds"][kind])
    slowest = [
        max(rank["kinds"][kind][number]["seconds"] / num_steps(rank, number, kind) for rank in ranks)
        for number in range(num_rounds)
    ]
    return float(statistics.median(slowest))


def samples_per_s(ranks: Sequence[Answer]) -> float:
    """Over all ranks."""
    return sum(int(rank["local_batch_size"]) for rank in ranks) / step_seconds(ranks, "train")


def samples_per_s_apart(processes: Sequence[Answer]) -> float:
    """Of independent processes: each counts by itself, none waits for another."""
    return sum(samples_per_s([process]) for process in processes)


def throughput(ranks: Sequence[Answer]) -> dict[str, Any]:
    """The figures of one job. Shares are of a step's time; `idle` is the share in which a rank's cores did nothing at all."""
    milliseconds = [
        1000 * seconds / int(rank["steps_per_execution"])
        for rank in ranks
        for turn in rank["kinds"]["train"]
        for seconds in turn["executions"]
    ]
    own_cores = [
        turn["cpu_seconds"] / (turn["seconds"] * min(rank["num_cores"], rank["threads"] or rank["num_cores"]))
        for rank in ranks
        for turn in rank["kinds"]["train"]
    ]
    found = {
        "size": len(ranks),
        "samples_per_s": samples_per_s(ranks),
        "samples_per_s_by_rank": [samples_per_s([rank]) for rank in ranks],
        "local_batch_size": ranks[0]["local_batch_size"],
        "steps_per_execution": ranks[0]["steps_per_execution"],
        "precision": ranks[0]["precision"],
        "step_ms_median": statistics.median(milliseconds),
        "step_ms_p95": percentile(milliseconds, 0.95),
        "idle": max(0.0, 1.0 - statistics.median(own_cores)),
    }
    return found | ({"shares": shares(ranks)} if "one batch" in ranks[0]["kinds"] else {})


def shares(ranks: Sequence[Answer]) -> dict[str, float]:
    """Where a step's time goes, by what is saved when a part is left out; a noisy machine can make one negative.

    Ranks that share the update out make a part of it in a step, and all of it where the others are left out.
    """
    whole, no_input, compute = (step_seconds(ranks, kind) for kind in ("train", "one batch", "no allreduce"))
    if len(ranks) == 1:  # nobody to wait for: both kinds without input are the same
        no_input = compute
    if "update" in ranks[0]["kinds"]:
        compute -= step_seconds(ranks, "update") * (1 - 1 / len(ranks))
    return {
        "compute": compute / whole,
        "allreduce": (no_input - compute) / whole,
        "input": (whole - no_input) / whole,
    }


def start_up(ranks: Sequence[Answer]) -> dict[str, float]:
    """Seconds from the start of the job to the first step, split up; of each part the slowest rank's end."""
    names = ("python", "tensorflow", "horovod", "data", "model", "first step")
    ends = [max(rank["start"][name] for rank in ranks) for name in names]
    parts = {name: end - before for name, end, before in zip(names, ends, [0.0, *ends], strict=False)}
    return parts | {"all": ends[-1]}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and extremes of repeats."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "repeats": len(values)}


def bus_bandwidth(size_bytes: float, seconds: float, size: int) -> float:
    """Bytes a second that each rank must at least send and receive for an allreduce: 2 (n - 1) / n of the message.

    The measure of nccl-tests (its PERFORMANCE.md), which can be compared at any number of ranks.
    """
    return size_bytes / seconds * 2 * (size - 1) / size
