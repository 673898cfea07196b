"""What a dataset holds, in words and in a picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hvd_train.config import SPLITS, SamplingConfig
from hvd_train.data.balance import label_shares, loss_weights
from hvd_train.data.dataset import Dataset
from hvd_train.data.duplicates import count_duplicates
from hvd_train.data.series.lengths import SeriesFacts, series_in_words

BAR_WIDTH = 50
MAX_LISTED_LABELS = 40
_BLOCKS = " ▏▎▍▌▋▊▉█"


def describe(dataset: Dataset, sampling: SamplingConfig, *, max_features: int = 12) -> str:
    """Rows, labels, balance, features, duplicates: paragraphs of text. Reads every row, shard by shard."""
    parts = [_head(dataset), _labels(dataset)]
    if sampling.balance != "none":
        parts.append(_balance(dataset, sampling))
    series = dataset.series
    features = _features(dataset, max_features) if series is None else _channels(dataset, series, max_features)
    parts += [features, *_categories(dataset), _duplicates(dataset)]
    return "\n\n".join(parts)


def bar(share: float, width: int = BAR_WIDTH) -> str:
    """A bar of up to `width` characters, to an eighth of one.

    >>> bar(0.5, 4), bar(0.3, 4)
    ('██', '█▏')
    """
    eighths = round(max(0.0, min(share, 1.0)) * width * 8)
    return "█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")


def histogram(names: Sequence[str], counts: NDArray[np.int64]) -> str:
    """A line for each name: name, count, share, bar."""
    width, total = max(map(len, names)), max(int(counts.sum()), 1)
    digits = len(f"{counts.max():,}")
    return "\n".join(
        f"  {name:<{width}}  {count:>{digits},}  {count / total:6.2%}  {bar(count / counts.max())}".rstrip()
        for name, count in zip(names, counts, strict=True)
    )


def decades(values: Sequence[int | str], counts: NDArray[np.int64]) -> tuple[list[str], NDArray[np.int64]]:
    """Years' counts added up by decade."""
    by_decade: dict[int, int] = {}
    for value, count in zip(values, counts, strict=True):
        decade = int(value) // 10 * 10
        by_decade[decade] = by_decade.get(decade, 0) + int(count)
    return [f"{decade}s" for decade in by_decade], np.array(list(by_decade.values()))


def save_histogram(dataset: Dataset, path: Path) -> Path:
    """A picture of the labels: all of them, and for years the decades too. Values get 50 bins. Raises OSError."""
    from matplotlib.figure import Figure  # slow to import, and only needed here

    schema = dataset.schema
    figure = Figure(figsize=(11, 6 if schema.label_kind == "years" else 4), layout="constrained")
    axes = figure.subplots(2 if schema.label_kind == "years" else 1, 1, squeeze=False)[:, 0]
    for split in SPLITS:
        if schema.label_kind == "values":
            axes[0].hist(dataset.features_and_labels(split)[1], bins=50, alpha=0.6, label=split)
            continue
        counts = dataset.label_counts(split)
        places = np.array(schema.label_values) if schema.label_kind == "years" else np.arange(len(counts))
        below = sum((dataset.label_counts(s) for s in SPLITS[: SPLITS.index(split)]), np.zeros_like(counts))
        axes[0].bar(places, counts, bottom=below, width=0.9, label=split)
        if schema.label_kind == "years":
            names, of_decade = decades(schema.label_values, counts)
            axes[1].bar(names, of_decade, bottom=decades(schema.label_values, below)[1], label=split)
    for axis in axes:
        axis.set_ylabel("rows")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_title(f"{schema.label_name}: rows per {'year, and per decade' if len(axes) > 1 else 'label'}")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120)
    return path


def _head(dataset: Dataset) -> str:
    schema = dataset.schema
    rows = ", ".join(f"{dataset.num_rows(split):,} {split}" for split in SPLITS)
    positions, channels = schema.layout
    outputs = f"{schema.num_outputs} outputs" if schema.label_values else "one output"
    return "\n".join(
        [
            f"{dataset.directory}",
            f"  rows      {sum(dataset.num_rows(s) for s in SPLITS):,}: {rows} ({dataset.metadata['split']} split)",
            f"  features  {schema.num_features}, laid out as {positions} positions x {channels} channels",
            f"  label     {schema.label_name} ({schema.label_kind}, {outputs})",
            f"  shards    {dataset.num_virtual_shards} virtual shards a split",
            f"  checksum  {dataset.checksum}",
        ]
    )


def _labels(dataset: Dataset) -> str:
    schema = dataset.schema
    if schema.label_kind == "values":
        labels = np.concatenate([dataset.features_and_labels(split)[1] for split in SPLITS]).astype(np.float64)
        counts, edges = np.histogram(labels, bins=20)
        names = [f"{low:.4g} .. {high:.4g}" for low, high in itertools.pairwise(edges)]
        return "Labels of all splits\n" + histogram(names, counts)
    counts = np.sum([dataset.label_counts(split) for split in SPLITS], axis=0)
    names = [str(value) for value in schema.label_values]
    if schema.label_kind == "years":
        text = "Rows per decade\n" + histogram(*decades(schema.label_values, counts))
        return text + "\n\nRows per year\n" + histogram(names, counts)
    order = np.argsort(-counts, kind="stable") if len(names) > MAX_LISTED_LABELS else np.arange(len(names))
    shown = order[:MAX_LISTED_LABELS]
    rest = f"\n  and {len(names) - len(shown)} more, from {counts.min():,} to {counts[shown[-1]]:,} rows each"
    text = "Rows per label\n" + histogram([names[i] for i in shown], counts[shown])
    return text + (rest if len(shown) < len(names) else "")


def _balance(dataset: Dataset, sampling: SamplingConfig) -> str:
    counts, num_rows = dataset.label_counts("train"), dataset.num_rows("train")
    shares, weights = label_shares(dataset, sampling), loss_weights(dataset, sampling)
    lines = [
        f"With --balance {sampling.balance}",
        "  label       rows  natural  drawn as  rows an epoch  times each  loss weight",
    ]
    for i, value in enumerate(dataset.schema.label_values):
        if counts[i]:
            drawn = shares[i] * num_rows
            weight = 1.0 if weights is None else float(weights[i])
            lines.append(
                f"  {str(value)[:8]:<8} {counts[i]:>7,}  {counts[i] / num_rows:7.3%}  {shares[i]:8.3%}  {drawn:13,.1f}  "
                f"{drawn / counts[i]:10.3f}  {weight:11.4f}"
            )
    return "\n".join(lines)


def _features(dataset: Dataset, max_features: int) -> str:
    statistics, names = dataset.statistics, dataset.schema.feature_names
    of_texts = {column.first + i for column in dataset.schema.text_columns for i in range(column.num_features)}
    numbers = [i for i in range(len(names)) if i not in of_texts]
    width = max(len("feature"), *(len(name[:24]) for name in names))
    lines = [
        "Features of the train split",
        f"  {'feature':<{width}} {'least':>12} {'mean':>12} {'most':>12} {'std. dev.':>12} {'missing':>9}",
    ]
    for i in numbers[:max_features]:
        figures = (statistics.minimum[i], statistics.mean[i], statistics.maximum[i], statistics.std[i])
        texts = " ".join(f"{number:12.5g}" for number in figures)
        lines.append(f"  {names[i][:24]:<{width}} {texts} {statistics.num_missing[i]:>9,}")
    if len(numbers) > max_features:
        lines.append(f"  and {len(numbers) - max_features} more (--max-features shows them)")
    constant = [name for name, is_constant in zip(names, statistics.constant, strict=True) if is_constant]
    lines.append(f"  constant: {len(constant)}" + (f" ({', '.join(constant[:10])})" if constant else ""))
    lines.append(f"  missing cells: {int(statistics.num_missing.sum()):,}")
    num_rows = dataset.num_rows("train")
    empty = [name for name, count in zip(names, statistics.num_missing, strict=True) if count == num_rows]
    lines += [f"  without any value: {len(empty)} ({', '.join(empty[:10])})"] if empty else []
    return "\n".join(lines)


def _channels(dataset: Dataset, series: SeriesFacts, max_channels: int) -> str:
    """A line for each channel of series, over all positions."""
    statistics, (positions, channels) = dataset.statistics, dataset.schema.layout
    num_rows = dataset.num_rows("train")
    by_channel = {
        name: getattr(statistics, name).reshape(channels, positions)
        for name in ("mean", "std", "minimum", "maximum", "num_missing")
    }
    count = num_rows - by_channel["num_missing"]
    share = count / np.maximum(count.sum(1, keepdims=True), 1)
    mean = (share * by_channel["mean"]).sum(1)
    variance = (share * (by_channel["std"] ** 2 + (by_channel["mean"] - mean[:, None]) ** 2)).sum(1)
    low = np.where(count > 0, by_channel["minimum"], np.inf).min(1)
    high = np.where(count > 0, by_channel["maximum"], -np.inf).max(1)
    lines = [
        f"Rows are {series_in_words(series)}",
        "Channels of the train split, over all positions",
        f"  {'channel':>7} {'least':>12} {'mean':>12} {'most':>12} {'std. dev.':>12}",
    ]
    for channel in range(min(channels, max_channels)):
        numbers = (low[channel], mean[channel], high[channel], np.sqrt(variance[channel]))
        lines.append(f"  {channel + 1:>7} " + " ".join(f"{number:12.5g}" for number in numbers))
    if channels > max_channels:
        lines.append(f"  and {channels - max_channels} more (--max-features shows them)")
    return "\n".join(lines)


def _categories(dataset: Dataset) -> list[str]:
    """A paragraph for each column of texts: its categories, by their rows of train."""
    # The mean of a column of 0 and 1 is the share of its rows.
    counts = np.rint(dataset.statistics.mean * dataset.num_rows("train")).astype(np.int64)
    paragraphs = []
    for column in dataset.schema.text_columns:
        rows = counts[column.first : column.first + column.num_features]
        names = [*column.categories, *column.rest]
        shown = np.argsort(-rows, kind="stable")[:MAX_LISTED_LABELS]
        unseen = "counts as other" if column.has_other else "is 0 in all of its columns"
        lines = [
            f"Categories of {column.name} in the train split; any other text {unseen}",
            histogram([names[i] for i in shown], rows[shown]),
        ]
        lines += [f"  and {len(names) - len(shown)} more"] if len(shown) < len(names) else []
        paragraphs.append("\n".join(lines))
    return paragraphs


def _duplicates(dataset: Dataset) -> str:
    found = count_duplicates(dataset)
    return (
        f"Duplicates: {found.rows:,} rows repeat another one; {found.test_in_train:,} test rows and {found.val_in_train:,} "
        "val rows stand in train too."
    )
