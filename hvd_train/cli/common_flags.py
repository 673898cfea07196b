"""The flags that `--help` shows: those that people use. `--help-all` shows all, and all of them work.

tyro prints what a dataclass holds. So `--help` is printed from a copy of the dataclass of arguments in which the other
fields of a RunConfig are suppressed. It parses nothing else.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Annotated, Any

import tyro

from hvd_train.config import (
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    RunConfig,
    SplitConfig,
    TableConfig,
    TrainingConfig,
    recipes,
)

# Section of a RunConfig: the fields whose flags `--help` shows. `train` shows four more of its own: twenty in all.
COMMON: dict[type, tuple[str, ...]] = {
    TableConfig: ("path", "label", "label_kind", "drop", "layout"),
    SplitConfig: ("method",),
    ModelConfig: ("name", "filters", "dense_units"),
    ObjectiveConfig: ("loss",),
    OptimizerConfig: ("optimizer", "base_learning_rate"),
    TrainingConfig: ("global_batch_size", "num_epochs", "seed", "early_stopping_patience"),
}
# Flags of `train` itself that `--help-all` alone shows.
RARE = ("stop_after", "dry_run", "print_config", "quiet")
# Of no type: mypy cannot follow types that are made at run time.
_ANNOTATED: Any = Annotated
_SUPPRESS: Any = tyro.conf.Suppress

NOTE = "These are the flags that people use most. --help-all shows all of them."

RecipeName = Annotated[
    str,
    tyro.conf.arg(help=f"A named RunConfig to start from: {', '.join(recipes.RECIPES)}. --help-all describes each."),
]


def with_common_flags(arguments: Any) -> Any:
    """A copy of `arguments`, a dataclass with a RunConfig, whose own class shows the common flags alone."""
    run = _with_common_sections(arguments.run)
    unprefixed = _ANNOTATED[type(run), tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="")]
    rare = {name: (_SUPPRESS[Any], getattr(arguments, name)) for name in RARE if hasattr(arguments, name)}
    return _with_fields(arguments, {"run": (unprefixed, run), "recipe": (RecipeName, arguments.recipe), **rare})


def _with_common_sections(run: RunConfig) -> Any:
    changed: dict[str, tuple[Any, Any]] = {}
    for field in dataclasses.fields(run):
        section = getattr(run, field.name)
        shown = COMMON.get(type(section))
        if shown is None:
            changed[field.name] = (_SUPPRESS[type(section)], section)
            continue
        hints = typing.get_type_hints(type(section), include_extras=True)
        hidden = {
            key.name: (_SUPPRESS[hints[key.name]], getattr(section, key.name))
            for key in dataclasses.fields(section)
            if key.name not in shown
        }
        reduced = _with_fields(section, hidden)
        changed[field.name] = (type(reduced), reduced)
    return _with_fields(run, changed)


def _with_fields(value: Any, changed: dict[str, tuple[Any, Any]]) -> Any:
    """`value` as an instance of a subclass, in which these fields have these (type, value)."""
    kind = type(value)
    namespace = {
        "__annotations__": {name: hint for name, (hint, _) in changed.items()},
        "__doc__": kind.__doc__,
        "__module__": kind.__module__,
    }
    # tyro finds the help of the other fields where the class itself stands.
    subclass: Any = dataclasses.dataclass(frozen=True, kw_only=True)(type(kind.__name__, (kind,), namespace))
    values = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return subclass(**values | {name: new for name, (_, new) in changed.items()})
