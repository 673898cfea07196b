"""RunConfig to and from TOML.

A file may leave out what it does not change. Files of earlier versions load, too (`earlier.py`). Unknown keys, wrong types and impossible values raise ConfigError with
the file's name and the key's. `None` ("chosen for you") is written by leaving the key out.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from hvd_train.config.earlier import with_keys_of_today
from hvd_train.config.run import RunConfig
from hvd_train.config.suggestion import suggestion
from hvd_train.errors import ConfigError
from hvd_train.files import reason

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

LARGEST = 2**1000
LONGEST_SHOWN = 200


def load(path: Path, *, base: RunConfig | None = None) -> RunConfig:
    """The RunConfig in `path`, over the values of `base`."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file. Give --config a TOML file, such as a run's config.toml."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: it cannot be read ({error}).") from None
    return loads(text, base=base, source=str(path))


def loads(text: str, *, base: RunConfig | None = None, source: str = "config") -> RunConfig:
    """The RunConfig in TOML, over the values of `base`. Errors name the `source`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: this is not TOML: {error}.") from None
    except Exception as error:  # RecursionError: lists in lists without end
        raise ConfigError(f"{source}: this is not TOML: {reason(error)}.") from None
    return from_mapping(document, base=base, source=source)


def from_mapping(document: dict[str, Any], *, base: RunConfig | None = None, source: str = "config") -> RunConfig:
    """The RunConfig that nested dictionaries describe, over the values of `base`."""
    document = with_keys_of_today(document, source=source)
    return _merge(base or RunConfig(), document, source, ())


def dumps(config: RunConfig) -> str:
    """TOML that `load` reads back as an equal RunConfig."""
    return tomli_w.dumps(_plain(config))


def _merge(default: T, document: dict[str, Any], source: str, place: tuple[str, ...]) -> T:
    hints = typing.get_type_hints(type(default))
    known = [f.name for f in dataclasses.fields(default)]  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for key, value in document.items():
        name = ".".join((*place, key))
        if key not in known:
            raise ConfigError(f"{source}: unknown key {name!r}. {suggestion(key, known)}")
        current = getattr(default, key)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, dict):
                raise ConfigError(f"{source}: {name!r} is a section, written [{name}], not {_shown(value)}.")
            changes[key] = _merge(current, value, source, (*place, key))
        else:
            changes[key] = _typed(value, hints[key], f"{source}: {name}")
    try:
        return dataclasses.replace(default, **changes)  # type: ignore[type-var]
    except ConfigError as error:
        raise ConfigError(f"{source}: {'.'.join(place) + ': ' if place else ''}{error}") from None


def _typed(value: Any, kind: Any, name: str) -> Any:
    """`value` as the type `kind`, or ConfigError. Only an integer where a real number is wanted is converted."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (kind,) = (a for a in arguments if a is not type(None))
        return _typed(value, kind, name)
    if origin is typing.Literal:
        if value in arguments and not isinstance(value, bool):
            return value
        raise ConfigError(f"{name} = {_shown(value)} is not one of {', '.join(map(repr, arguments))}.")
    if origin is tuple:
        if isinstance(value, list):
            return tuple(_typed(item, arguments[0], f"{name}[{i}]") for i, item in enumerate(value))
        raise ConfigError(f"{name} = {_shown(value)} must be a list, like [{'32, 32' if arguments[0] is int else ''}].")
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{name} = {_shown(value)} holds a zero byte, which no path and no table has.")
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < LARGEST else math.inf  # which is refused with the others
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise ConfigError(f"{name} = {_shown(value)} must be {_english(kind)}.")


def _shown(value: Any) -> str:
    """A value in a message: what somebody typed, and not all of what somebody generated."""
    try:
        text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _english(kind: type) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}[kind]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: _plain(item) for name, item in pairs if item is not None}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
