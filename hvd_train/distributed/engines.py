"""The engines. Each is a `World` in a file of its own, which joins the ranks in its own way.

A new engine is one file and one entry in `ENGINES`. An engine is imported when it is chosen, never before.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import cast

from hvd_train.distributed.placement import Placement
from hvd_train.distributed.world import World

ENGINES: Mapping[str, str] = {
    "solo": "hvd_train.distributed.solo:SoloWorld",
    "horovod": "hvd_train.distributed.horovod:HorovodWorld",
}
"""Name -> "module:class"."""


def choose_engine(placement: Placement) -> str:
    """The engine for ranks that were started like this one."""
    return "horovod" if placement.size > 1 else "solo"


def load_engine(name: str) -> type[World]:
    """The class of an engine. Call it after the settings were made: it may load TensorFlow."""
    module, _, attribute = ENGINES[name].partition(":")
    return cast("type[World]", getattr(importlib.import_module(module), attribute))
