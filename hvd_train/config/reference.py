"""References to a user's own Python: `package.module:name` or `path/to/file.py:name`.

Networks, losses, metrics, data sources and trackers of a user are named so, on the command line and in config.toml.
Whether a reference is well formed is checked before anything heavy loads. It is resolved later, on every rank alike:
the user's file may import TensorFlow.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from hvd_train.errors import ConfigError

FORM = "package.module:name or path/to/file.py:name"

# What was given in Python, by its reference: `resolve` gives back the very same.
_given: dict[str, Any] = {}
# Files to load instead of those that references name: a run directory keeps a copy of a user's file.
_stand_ins: dict[Path, Path] = {}


def is_reference(text: str) -> bool:
    """Whether `text` names something of the user's, rather than one of the built-in choices.

    >>> is_reference("nets.py:wide"), is_reference("my.nets:wide"), is_reference("mlp")
    (True, True, False)
    """
    return ":" in text


def require_form(text: str, *, key: str) -> None:
    """Raise ConfigError naming `key` unless `text` is a well-formed reference. Imports nothing."""
    place, _, name = text.rpartition(":")
    is_module = all(part.isidentifier() for part in place.split("."))
    if not name.isidentifier() or not (place.endswith(".py") or is_module):
        raise ConfigError(f"{key} = {text!r} is not possible: a reference is written {FORM}.")


def absolute(text: str) -> str:
    """The reference with the path of its file made absolute, so that it holds from any directory."""
    place, _, name = text.rpartition(":")
    return f"{Path(place).expanduser().resolve()}:{name}" if place.endswith(".py") else text


def file_of(text: str) -> Path | None:
    """The absolute path of the file that a reference names; None where it names a module, or is no reference."""
    place = text.rpartition(":")[0]
    return Path(place).expanduser().resolve() if place.endswith(".py") else None


def stand_in(path: Path, copy: Path) -> None:
    """From now on load `copy` where a reference names the file `path`."""
    _stand_ins[path] = copy


def reference_to(thing: Any, *, key: str) -> str:
    """The reference that names a function or a class; ConfigError naming `key` where none can.

    `resolve` gives back the very same object in this process. A file that is run as a program, or that belongs to no
    package, is named by its path: so the reference holds from any directory.
    """
    name, module = getattr(thing, "__qualname__", ""), sys.modules.get(getattr(thing, "__module__", None) or "")
    if module is None or getattr(module, name, None) is not thing:
        raise ConfigError(
            f"{key} = {thing!r} is not possible: it must be a function or a class at the top level of a module, so that "
            "other programs find it by its name."
        )
    file = Path(getattr(module, "__file__", None) or "")
    alone = module.__name__ == "__main__" or "." not in module.__name__
    is_program = file.suffix == ".py" and alone and Path(sys.prefix) not in file.resolve().parents
    text = f"{file.resolve() if is_program else module.__name__}:{name}"
    _given[text] = thing
    return text


def resolve(text: str, *, key: str) -> Any:
    """The object that `text` names. Every rank that needs it; ConfigError naming `key` where it cannot be had.

    A file is loaded once a process, as a module whose name depends on its path alone, so that its classes are the same
    on all ranks. Modules beside the file are found, as they are when it runs as a program. An error inside the user's
    file keeps its own traceback as the cause.
    """
    require_form(text, key=key)
    if text in _given:
        return _given[text]
    place, _, name = text.rpartition(":")
    module = (
        _load_file(Path(place).expanduser(), text, key) if place.endswith(".py") else _load_module(place, text, key)
    )
    try:
        return getattr(module, name)
    except AttributeError:
        names = ", ".join(sorted(n for n in vars(module) if not n.startswith("_"))) or "nothing"
        raise ConfigError(f"{key} = {text!r}: {place} has no {name!r}. It defines: {names}.") from None


def _load_module(place: str, text: str, key: str) -> Any:
    # As `python -m` does: a module beside the user's data is found without an installation.
    if "" not in sys.path:
        _find_modules_in(Path.cwd())
    try:
        return importlib.import_module(place)
    except Exception as error:
        raise ConfigError(f"{key} = {text!r}: {place} cannot be imported: {type(error).__name__}: {error}.") from error


def _find_modules_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _load_file(path: Path, text: str, key: str) -> Any:
    path = path.resolve()
    if path.parent.is_dir():
        _find_modules_in(path.parent)
    path = _stand_ins.get(path, path)
    if not path.is_file():
        raise ConfigError(f"{key} = {text!r}: there is no file {path}. A reference is written {FORM}.")
    module_name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise ConfigError(f"{key} = {text!r}: {path} cannot be imported: {type(error).__name__}: {error}.") from error
    return module
