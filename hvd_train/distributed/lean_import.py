"""How a program of ours imports Keras: without packages that only its optional parts use, and without a search for garbage.

Keras 3.15 tries to import scikit-learn (for `keras.wrappers`), matplotlib (for `keras.visualization`) and pandas (for
data frames in `fit`), and with them SciPy. It does without each of them where it is not installed. The ranks of a program
of ours need none of these parts, and start, and start again after a fault, two seconds earlier.

Python's collector goes through all objects again and again while they become more, and once more at the end of the process.
What modules hold stays until then, and then the system takes it back. That is half a second of the start and one of the end.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

LEFT_OUT = ("matplotlib", "pandas", "scipy", "sklearn")


class _Refusing(MetaPathFinder):
    """Finds no module of these packages."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = frozenset(packages)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self._packages:
            raise ModuleNotFoundError(f"No module named {fullname!r} while Keras is imported", name=fullname)
        return None


@contextlib.contextmanager
def lean_import() -> Iterator[None]:
    """For the imports in the block, and the end of the process: see this module."""
    collects, is_first = gc.isenabled(), "tensorflow" not in sys.modules
    gc.disable()
    try:
        with leaving_out(*LEFT_OUT):
            yield
    finally:
        if is_first:  # what is left of an earlier run of this process may be garbage
            gc.freeze()
        if collects:
            gc.enable()
        atexit.unregister(gc.freeze)
        atexit.register(gc.freeze)


@contextlib.contextmanager
def leaving_out(*packages: str) -> Iterator[None]:
    """While the block runs, these packages cannot be imported. One that is there already stays, and later imports work."""
    finder = _Refusing([package for package in packages if package not in sys.modules])
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
