"""sweep.toml: the tasks of a job array, each a set of flags.

[grid]                          # every combination, here four
base-learning-rate = [0.001, 0.003]
seed = [0, 1]

[[task]]                        # or one table for each task
model = "mlp"
dense-units = [256, 256]
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hvd_train.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_TASKS = 10_000
WAY_OUT = "A sweep has a table [grid] of lists, one for each flag, or a table [[task]] for each task."
Flags = tuple[str, ...]


def read_sweep(path: Path) -> list[Flags]:
    """The flags of each task, in order. UserError where the file is no sweep."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"--array {path}: there is no such file. {WAY_OUT}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--array {path}: it cannot be read ({error}).") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"--array {path}: this is not TOML: {error}.") from None
    unknown = sorted(document.keys() - {"grid", "task"})
    if unknown or not document:
        what = f"unknown key {unknown[0]!r}" if unknown else "it is empty"
        raise UserError(f"--array {path}: {what}. {WAY_OUT}")
    grid, tasks = document.get("grid", {}), document.get("task", [])
    if not isinstance(grid, dict) or not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise UserError(f"--array {path}: {WAY_OUT}")
    found = list(itertools.islice(_combinations(grid, tasks, path), MOST_TASKS + 1))
    if not 0 < len(found) <= MOST_TASKS:
        count = f"more than {MOST_TASKS:,}" if found else "no"
        raise UserError(f"--array {path}: it describes {count} tasks.")
    return found


def _combinations(grid: dict[str, Any], tasks: list[dict[str, Any]], path: Path) -> Iterator[Flags]:
    """Of a grid and a list of tasks, each task with every point of the grid."""
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"--array {path}: grid.{name} = {values!r} must be a list of values, such as [1, 2].")
    both = {name for task in tasks for name in task} & grid.keys()
    if both:
        raise UserError(f"--array {path}: {sorted(both)[0]!r} is in [grid] and in a [[task]]. Leave one out.")
    for task in tasks or ([{}] if grid else []):
        for point in itertools.product(*grid.values()):
            pairs = {**task, **dict(zip(grid, point, strict=True))}
            yield tuple(word for name, value in pairs.items() for word in _flag(name, value, path))


def _flag(name: str, value: Any, path: Path) -> list[str]:
    """A flag as words of a command line; a list is a flag of several values."""
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    values = value if isinstance(value, list) else [value]
    if any(isinstance(one, bool) or not isinstance(one, int | float | str) for one in values):
        raise UserError(f"--array {path}: {name} = {value!r} is no value of a flag.")
    return [flag, *map(str, values)]
