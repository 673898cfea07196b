"""Options of a user's own function, written name=value: typed by the fields of the function's dataclass."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable
from typing import Any, TypeVar

from hvd_train.config import toml
from hvd_train.errors import ConfigError

T = TypeVar("T")


def parse_options(kind: type[T], options: Iterable[str], *, base: T | None = None, key: str) -> T:
    """An instance of the dataclass `kind` with these options over the values of `base`. Pure.

    Values are written as in TOML; texts need no quotes, and several values of a tuple are separated by commas.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Net:
    ...     widths: tuple[int, ...] = (64,)
    >>> parse_options(Net, ["widths=8,16"], key="model-options")
    Net(widths=(8, 16))

    Raises:
        ConfigError: names `key` and the option: unknown, or of another type.
    """
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    chosen: dict[str, Any] = {name: getattr(base, name) for name in fields} if base is not None else {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals:
            raise ConfigError(f"{key} = {option!r} is not possible: an option is written name=value.")
        if name not in fields:
            raise ConfigError(f"{key}: there is no option {name!r}. The options are: {', '.join(fields) or 'none'}.")
        chosen[name] = toml.typed_text(text, hints[name], f"{key}: {name}")
    missing = [
        name
        for name, field in fields.items()
        if name not in chosen and field.default is field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{key}: {missing[0]} has no default. Give it: {missing[0]}=VALUE.")
    try:
        return kind(**chosen)
    except ConfigError:
        raise
    except Exception as error:  # whatever a user's __post_init__ raises
        raise ConfigError(f"{key}: {type(error).__name__}: {error}") from error
