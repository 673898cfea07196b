"""`hvd-train data fetch | convert | check | describe`: one function each, from typed arguments to a text to print.

Printing and exit codes are those of verbs.py. `report` gets lines while the work goes on, `progress` bytes done and in all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from hvd_train.config import SPLITS, SamplingConfig, SplitConfig, TableConfig

if TYPE_CHECKING:
    from hvd_train.data import ShowProgress, Tell


@dataclass(frozen=True, kw_only=True)
class FetchArguments:
    """Download YearPredictionMSD (UCI, 210 MB, CC BY 4.0), compare its checksums, and print where it is."""

    what: Annotated[Literal["songs"], tyro.conf.Positional] = "songs"
    """Which table."""
    cache_dir: Path | None = None
    """Directory to keep it in. By default $XDG_CACHE_HOME/hvd_train or ~/.cache/hvd_train."""
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print errors and the result alone: no progress."""


@dataclass(frozen=True, kw_only=True)
class ConvertArguments:
    """Convert a table into a dataset directory: virtual shards of float32 rows, statistics, checksums."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """A table: CSV (also .gz, .bz2, .xz, .zip), Parquet, LIBSVM, .npz or .ts."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """The directory to make."""
    force: bool = False
    """Replace a dataset that is there already."""
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print errors and the result alone: no progress."""
    table: tyro.conf.OmitArgPrefixes[TableConfig] = field(default_factory=TableConfig)
    split: tyro.conf.OmitArgPrefixes[SplitConfig] = field(default_factory=SplitConfig)


@dataclass(frozen=True, kw_only=True)
class CheckArguments:
    """Compare every file of a dataset directory with the checksum it was written with."""

    directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """A directory made by `hvd-train data convert`."""


@dataclass(frozen=True, kw_only=True)
class DescribeArguments:
    """Rows, labels, features, duplicates and trivial baselines of a table or a dataset directory."""

    directory: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")] = None
    """A dataset directory, or a table, which is converted into the cache. By default the embedded synthetic songs."""
    png: Path | None = None
    """Picture to save the histogram of the labels to."""
    max_features: int = 12
    """Largest number of features to list."""
    table: tyro.conf.OmitArgPrefixes[TableConfig] = field(default_factory=TableConfig)
    split: tyro.conf.OmitArgPrefixes[SplitConfig] = field(default_factory=SplitConfig)
    sampling: tyro.conf.OmitArgPrefixes[SamplingConfig] = field(default_factory=SamplingConfig)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a verb."""

    text: str
    path: Path | None = None
    """What it made or looked at."""
    exit_code: int = 0


def fetch(arguments: FetchArguments, *, report: Tell | None = None, progress: ShowProgress | None = None) -> Outcome:
    """Download the songs. Raises DataError."""
    from hvd_train.data import fetch as fetch_source
    from hvd_train.data import user_cache_dir

    directory = (arguments.cache_dir or user_cache_dir()) / "downloads"
    path = fetch_source(directory, report=report, progress=progress)
    return Outcome(f"{path}\nTrain on it: hvd-train train --data {path}", path)


def convert(
    arguments: ConvertArguments, *, report: Tell | None = None, progress: ShowProgress | None = None
) -> Outcome:
    """Convert a table. Raises DataError."""
    from hvd_train.data import convert as convert_table

    path = convert_table(
        arguments.source,
        arguments.out,
        arguments.table,
        arguments.split,
        force=arguments.force,
        report=report,
        progress=progress,
    )
    return Outcome(f"{path} is ready: hvd-train train --data {path}", path)


def check(arguments: CheckArguments) -> Outcome:
    """Read everything and compare checksums; exit code 1 and each damaged file by name where they differ."""
    from hvd_train.data import Dataset, read_metadata

    metadata = read_metadata(arguments.directory)
    damage = Dataset(arguments.directory, metadata).find_damage()
    if damage:
        lines = "\n".join(f"  {line}" for line in damage)
        return Outcome(
            f"{arguments.directory}: {len(damage)} of {len(metadata['files'])} files are damaged:\n{lines}\n"
            "Convert the table again.",
            arguments.directory,
            exit_code=1,
        )
    num_rows = sum(metadata["splits"][split]["num_rows"] for split in SPLITS)
    return Outcome(
        f"{arguments.directory} is whole: {num_rows:,} rows, {len(metadata['files'])} files, all checksums right.",
        arguments.directory,
    )


def describe(
    arguments: DescribeArguments, *, report: Tell | None = None, progress: ShowProgress | None = None
) -> Outcome:
    """Describe a table or a dataset directory. Raises DataError."""
    from dataclasses import replace

    from hvd_train.data import Dataset, prepare, save_histogram, write_error
    from hvd_train.data import describe as describe_dataset
    from hvd_train.evaluation import describe_baselines

    table = replace(arguments.table, path=arguments.directory or arguments.table.path)
    directory = prepare(table, arguments.split, report=report, progress=progress)
    dataset = Dataset.open(directory)
    text = describe_dataset(dataset, arguments.sampling, max_features=arguments.max_features)
    text += f"\n\n{describe_baselines(dataset)}"
    if arguments.png is not None:
        try:
            save_histogram(dataset, arguments.png)
        except OSError as error:
            raise write_error(arguments.png, error) from error
        text += f"\n\nHistogram: {arguments.png}"
    return Outcome(text, directory)
