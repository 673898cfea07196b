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

# A larger integer is no finite float. TOML's have no limit.
LARGEST_INTEGER = 2**1000
MAX_CHARACTERS_SHOWN = 200


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
    return _changed(base or RunConfig(), document, source, ())


def over(default: T, document: dict[str, Any], *, source: str) -> T:
    """A dataclass of plain settings with the values of a TOML document, or ConfigError naming the `source` and the key."""
    return _changed(default, document, source, ())


def dumps(config: RunConfig) -> str:
    """TOML that `load` reads back as an equal RunConfig."""
    return tomli_w.dumps(_as_toml(config))


def section(name: str, values: Any) -> str:
    """One section of a RunConfig as `dumps` writes it, with its heading also where all its keys are left out."""
    return tomli_w.dumps({name: _as_toml(values)})


def _changed(default: T, document: dict[str, Any], source: str, sections: tuple[str, ...]) -> T:
    """`default` with the values of `document`, which stands in these `sections` of the source."""
    hints = typing.get_type_hints(type(default))
    known = [f.name for f in dataclasses.fields(default)]  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for key, value in document.items():
        name = ".".join((*sections, key))
        if key not in known:
            raise ConfigError(f"{source}: unknown key {name!r}. {suggestion(key, known)}")
        current = getattr(default, key)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, dict):
                raise ConfigError(f"{source}: {name!r} is a section, written [{name}], not {_abbreviated(value)}.")
            changes[key] = _changed(current, value, source, (*sections, key))
        else:
            changes[key] = _typed(value, hints[key], f"{source}: {name}")
    try:
        return dataclasses.replace(default, **changes)  # type: ignore[type-var]
    except ConfigError as error:
        raise ConfigError(f"{source}: {'.'.join(sections) + ': ' if sections else ''}{error}") from None


def _typed(value: Any, kind: Any, name: str) -> Any:
    """`value` as the type `kind`, or ConfigError. Only an integer where a real number is wanted is converted."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (kind,) = (a for a in arguments if a is not type(None))
        return _typed(value, kind, name)
    if origin is typing.Literal:
        if value in arguments and not isinstance(value, bool):
            return value
        raise ConfigError(f"{name} = {_abbreviated(value)} is not one of {', '.join(map(repr, arguments))}.")
    if origin is tuple:
        if isinstance(value, list):
            return tuple(_typed(item, arguments[0], f"{name}[{i}]") for i, item in enumerate(value))
        raise ConfigError(
            f"{name} = {_abbreviated(value)} must be a list, like [{'32, 32' if arguments[0] is int else ''}]."
        )
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{name} = {_abbreviated(value)} holds a zero byte, which no path and no table has.")
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < LARGEST_INTEGER else math.inf  # which is refused with the others
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise ConfigError(f"{name} = {_abbreviated(value)} must be {_in_words(kind)}.")


def typed_text(text: str, kind: Any, name: str) -> Any:
    """A value of the type `kind` from the text of a command line, or ConfigError naming `name`. Pure."""
    origin = typing.get_origin(kind)
    if origin is tuple or kind is tuple:
        return tuple(
            typed_text(part.strip(), typing.get_args(kind)[0], name) for part in text.split(",") if part.strip()
        )
    try:
        return _typed(tomllib.loads(f"value = {text}")["value"], kind, name)
    except (tomllib.TOMLDecodeError, KeyError):
        return _typed(text, kind, name)
    except ConfigError:
        if kind is str or origin in (typing.Literal, typing.Union, types.UnionType):
            return _typed(text, kind, name)  # such as a Literal of "1", or the text true
        raise


def _abbreviated(value: Any) -> str:
    """A value in a message: what somebody typed, and not all of what somebody generated."""
    try:
        text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= MAX_CHARACTERS_SHOWN else f"{text[:MAX_CHARACTERS_SHOWN]}..."


def _in_words(kind: type) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}[kind]


def _as_toml(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: _as_toml(item) for name, item in pairs if item is not None}
    if isinstance(value, tuple):
        return [_as_toml(item) for item in value]
    return str(value) if isinstance(value, Path) else value
