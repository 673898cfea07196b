"""Which rows train, which choose the best epoch (val), and which give the final figures (test)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hvd_train.config import SPLITS, SplitConfig
from hvd_train.data.plan import generator
from hvd_train.data.schema import NUM_OFFICIAL_TRAIN_SONGS, NUM_SONGS
from hvd_train.errors import DataError

TRAIN, VAL, TEST = range(3)
_SPLIT_STREAM = 11
_NAMES = {"train": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "dev": VAL, "test": TEST}

LEAK = (
    "songs of one artist stand together, and a random split puts some of them on each side: a model then knows the "
    "artist, and its figures come out too good (an RMSE of 8.4 years instead of 8.9)"
)


@dataclass(frozen=True, eq=False)
class SplitInput:
    """What a split may depend on."""

    path: object
    num_rows: int
    is_songs: bool
    has_classes: bool
    labels: Callable[[], NDArray[np.float64]]
    """(N,) raw labels, read only where the split needs them."""
    keys: Callable[[], NDArray[np.int32]]
    """(N,) codes of the split's column; below 0 where the cell is missing."""
    key_names: tuple[str, ...]
    key_error: Callable[[int, str], DataError]
    """The error for row i of the split's column."""
    num_rows_before_test: int | None = None
    """Where the test rows are a table of their own: how many rows stand before them."""
    first_of_group: Callable[[int], int] = lambda row: row
    """Where the group of a row begins: splits by position begin there, where groups are known."""


def assign_splits(config: SplitConfig, given: SplitInput) -> NDArray[np.uint8]:
    """(N,) 0 for train, 1 for val, 2 for test. Raises DataError where a split would be empty or would leak."""
    method = chosen_method(config, given)
    if given.is_songs and method in ("random", "stratified") and not config.insist_on_random_split:
        raise DataError(
            f"{given.path}: the songs are not split at random: {LEAK}. Use --split official or sequential, or "
            "--insist-on-random-split if that is what you want to show."
        )
    if given.num_rows_before_test is not None:
        codes = _test_given(config, given, given.num_rows_before_test)
    elif method == "official":
        codes = _official(config, given)
    elif method == "sequential":
        codes = _sequential(config, given.num_rows, given.first_of_group)
    elif method == "random":
        codes = _shuffled(config, given.num_rows)
    elif method == "stratified":
        codes = _stratified(config, given.labels())
    elif method == "group":
        codes = _grouped(config, given)
    elif method == "column":
        codes = _by_column(config, given)
    else:
        raise DataError(
            f"split = {config.method!r} is unknown: auto, official, sequential, random, stratified, group:COLUMN or "
            "column:COLUMN."
        )
    _require_rows(codes, given)
    return codes


def chosen_method(config: SplitConfig, given: SplitInput) -> str:
    """The method without its column; what `auto` stands for here."""
    method = config.method.partition(":")[0]
    if method != "auto":
        return method
    if given.num_rows_before_test is not None:
        return "official"
    if given.is_songs:
        return "official" if given.num_rows == NUM_SONGS else "sequential"
    return "stratified" if given.has_classes else "random"


def _official(config: SplitConfig, given: SplitInput) -> NDArray[np.uint8]:
    if not given.is_songs or given.num_rows != NUM_SONGS:
        raise DataError(
            f"{given.path}: the official split is that of the whole YearPredictionMSD ({NUM_SONGS:,} rows of 91 "
            f"columns), but there are {given.num_rows:,} rows. Use --split sequential."
        )
    codes = np.full(NUM_SONGS, TEST, np.uint8)
    codes[:NUM_OFFICIAL_TRAIN_SONGS] = TRAIN
    num_val = round(NUM_OFFICIAL_TRAIN_SONGS * config.val_fraction)
    codes[given.first_of_group(NUM_OFFICIAL_TRAIN_SONGS - num_val) : NUM_OFFICIAL_TRAIN_SONGS] = VAL
    return codes


def _test_given(config: SplitConfig, given: SplitInput, begin_test: int) -> NDArray[np.uint8]:
    """The rows from `begin_test` on are test; of the others val is drawn from each class, or the last ones of songs."""
    if config.method not in ("auto", "official"):
        raise assigned_twice(given.path, config.method)
    codes = np.full(given.num_rows, TEST, np.uint8)
    if given.is_songs:
        codes[:begin_test] = TRAIN
        codes[given.first_of_group(begin_test - round(begin_test * config.val_fraction)) : begin_test] = VAL
    elif given.has_classes:
        codes[:begin_test] = _by_class(config.seed, given.labels()[:begin_test], config.val_fraction, 0.0)
    else:
        held_out = np.zeros(begin_test, np.uint8)
        held_out[begin_test - round(begin_test * config.val_fraction) :] = VAL
        codes[:begin_test] = generator(config.seed, _SPLIT_STREAM).permuted(held_out)
    return codes


def assigned_twice(path: object, method: str) -> DataError:
    """The error for a --split that assigns rows which --test-data assigns already."""
    return DataError(
        f"{path}: --split {method} assigns all rows, but --test-data gives those of the test split. Leave one of them out."
    )


def _held_out(config: SplitConfig, num_rows: int) -> tuple[int, int]:
    return round(num_rows * config.val_fraction), round(num_rows * config.test_fraction)


def _sequential(
    config: SplitConfig, num_rows: int, first_of_group: Callable[[int], int] | None = None
) -> NDArray[np.uint8]:
    num_val, num_test = _held_out(config, num_rows)
    begin_val, begin_test = num_rows - num_test - num_val, num_rows - num_test
    if first_of_group is not None and 0 < begin_val < begin_test < num_rows:
        begin_val, begin_test = first_of_group(begin_val), first_of_group(begin_test)
    codes = np.zeros(num_rows, np.uint8)
    codes[begin_val:] = VAL
    codes[begin_test:] = TEST
    return codes


def _shuffled(config: SplitConfig, num_rows: int) -> NDArray[np.uint8]:
    codes = _sequential(config, num_rows)
    return generator(config.seed, _SPLIT_STREAM).permuted(codes)


def _stratified(config: SplitConfig, labels: NDArray[np.float64]) -> NDArray[np.uint8]:
    return _by_class(config.seed, labels, config.val_fraction, config.test_fraction)


def _by_class(seed: int, labels: NDArray[np.float64], val_fraction: float, test_fraction: float) -> NDArray[np.uint8]:
    """(N,) of each class so many rows to val and test."""
    random = generator(seed, _SPLIT_STREAM)
    shuffled = random.permutation(len(labels))
    rows = shuffled[np.argsort(labels[shuffled], kind="stable")]  # class by class, at random inside each
    starts = np.flatnonzero(np.r_[True, np.diff(labels[rows]) != 0, True])
    codes = np.zeros(len(labels), np.uint8)
    owed_val = owed_test = 0.5  # what rounding withheld from one class goes to the next, so the totals are exact
    for start, stop in itertools.pairwise(starts.tolist()):
        owed_val += (stop - start) * val_fraction
        owed_test += (stop - start) * test_fraction
        # A class of a few rows keeps one to train on.
        num_test = min(int(owed_test), stop - start - 1)
        num_val = min(int(owed_val), stop - start - 1 - num_test)
        owed_test, owed_val = owed_test - num_test, owed_val - num_val
        codes[rows[start : start + num_test]] = TEST
        codes[rows[start + num_test : start + num_test + num_val]] = VAL
    return codes


def _grouped(config: SplitConfig, given: SplitInput) -> NDArray[np.uint8]:
    groups = given.keys().astype(np.int64)
    # A row whose group is not known is a group by itself: taken for one group, they would all be on one side.
    alone = groups < 0
    groups[alone] = len(given.key_names) + np.arange(np.count_nonzero(alone))
    sizes = np.bincount(groups)
    if len(sizes) < 3:
        raise DataError(
            f"{given.path}: the column of --split {config.method} has {len(sizes)} groups; three splits need at least 3."
        )
    drawn = generator(config.seed, _SPLIT_STREAM).permutation(len(sizes))
    # The largest group comes last, to train: with few groups, little would be left there if it were held out.
    order = np.append(drawn[drawn != sizes.argmax()], sizes.argmax())
    num_val, num_test = _held_out(config, given.num_rows)
    middle = np.cumsum(sizes[order]) - sizes[order] / 2
    of_group = np.zeros(len(sizes), np.uint8)
    of_group[order[middle <= num_test + num_val]] = VAL
    of_group[order[middle <= num_test]] = TEST
    # Large groups can jump over a small split: then it gets the first that would have come.
    of_group[order[0]], of_group[order[-1]] = TEST, TRAIN
    if not (of_group == VAL).any():
        of_group[order[1]] = VAL
    return of_group[groups]


def _by_column(config: SplitConfig, given: SplitInput) -> NDArray[np.uint8]:
    keys = given.keys()
    if (keys < 0).any():
        raise given.key_error(
            int((keys < 0).argmax()), "the cell is empty: it says no split. They are train, val and test."
        )
    for code, name in enumerate(given.key_names):
        if name.strip().lower() not in _NAMES:
            row = int((keys == code).argmax())
            raise given.key_error(row, f"{name!r} is no split: train, val or test.")
    codes = np.array([_NAMES[name.strip().lower()] for name in given.key_names], np.uint8)[keys]
    if not (codes == VAL).any():  # many tables only tell train from test
        train_rows = np.flatnonzero(codes == TRAIN)
        num_val = round(len(train_rows) * config.val_fraction)
        codes[generator(config.seed, _SPLIT_STREAM).permutation(train_rows)[:num_val]] = VAL
    return codes


def _require_rows(codes: NDArray[np.uint8], given: SplitInput) -> None:
    counts = np.bincount(codes, minlength=3)
    for split, count in zip(SPLITS, counts, strict=True):
        if count < (2 if split == "train" else 1):
            raise DataError(
                f"{given.path}: {given.num_rows} rows are too few: {count} would be left for {split}. "
                "Give more rows, or other --val-fraction and --test-fraction."
            )
