"""Small .ts files, and a plain reading of them, for the tests of series."""

from __future__ import annotations

from pathlib import Path

import numpy as np

Series = list[list[float]]


def ts_text(
    series: list[Series], labels: list[str] | None, *, header: list[str] | None = None, target: bool = False
) -> str:
    """A .ts file of these series (each a list of channels); NaN is written as ?."""
    channels = len(series[0])
    lengths = {len(channel) for one in series for channel in one}
    lines = header or [
        "# made by a test",
        "@problemName Test",
        "@timeStamps false",
        f"@missing {str(any(np.isnan(v) for s in series for c in s for v in c)).lower()}",
        f"@univariate {str(channels == 1).lower()}",
        *([f"@dimensions {channels}"] if channels > 1 else []),
        f"@equalLength {str(len(lengths) == 1).lower()}",
        *([f"@seriesLength {max(lengths)}"] if len(lengths) == 1 else []),
        "@targetLabel true" if target else f"@classLabel {_classes(labels)}",
    ]
    rows = [
        ":".join(",".join("?" if np.isnan(v) else repr(float(v)) for v in channel) for channel in s) for s in series
    ]
    if labels is not None:
        rows = [f"{row}:{label}" for row, label in zip(rows, labels, strict=True)]
    return "\n".join([*lines, "@data", *rows]) + "\n"


def _classes(labels: list[str] | None) -> str:
    return "false" if labels is None else "true " + " ".join(dict.fromkeys(labels))


def some_series(
    num_rows: int, channels: int, lengths: tuple[int, int], seed: int = 0
) -> tuple[list[Series], list[str]]:
    """Waves whose frequency is their class, of a length within `lengths`."""
    rng = np.random.default_rng(seed)
    series, labels = [], []
    for row in range(num_rows):
        label = row % 3
        t = np.arange(rng.integers(lengths[0], lengths[1] + 1))
        waves = [np.sin((label + 1) * t / 3 + rng.uniform(0, 6)) + rng.normal(0, 0.1, len(t)) for _ in range(channels)]
        series.append([wave.astype(np.float32).astype(float).tolist() for wave in waves])
        labels.append(f"class{label}")
    return series, labels


def dense(series: list[Series], positions: int) -> np.ndarray:
    """(N, C * L) rows that hold channel after channel, padded by NaN."""
    rows = np.full((len(series), len(series[0]), positions), np.nan, np.float32)
    for row, one in zip(rows, series, strict=True):
        for cells, channel in zip(row, one, strict=True):
            cells[: len(channel)] = channel
    return rows.reshape(len(series), -1)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
