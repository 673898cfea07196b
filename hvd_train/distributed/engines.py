"""The engines. Each is a `World` in a file of its own, which joins the ranks in its own way.

A new engine is one file and one entry in `ENGINES`. An engine is imported when it is chosen, never before.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import cast

from hvd_train.config import Engine
from hvd_train.distributed.launchers import launcher_of
from hvd_train.distributed.placement import Placement
from hvd_train.distributed.world import World
from hvd_train.errors import ConfigError

ENGINES: Mapping[str, str] = {
    "solo": "hvd_train.distributed.solo:SoloWorld",
    "horovod": "hvd_train.distributed.horovod:HorovodWorld",
    "tensorflow": "hvd_train.distributed.tensorflow:TensorFlowWorld",
}
"""Name -> "module:class"."""

WAYS_TO_START: Mapping[str, str] = {
    "horovod": "Start them with horovodrun or mpirun for it.",
    "tensorflow": "Start them with `hvd-train launch --np N -- train ...`, with srun, or with TF_CONFIG set for it.",
}


def choose_engine(placement: Placement, wanted: Engine = "auto") -> str:
    """The engine for ranks that were started like this one. One rank alone needs none. Pure.

    Raises ConfigError where the `wanted` one cannot join ranks of this launcher.
    """
    if placement.size == 1:
        return "solo"
    possible = launcher_of(placement).engines
    if wanted == "auto":
        return possible[0]
    if wanted == "solo":
        raise ConfigError(
            f"--engine solo is for one rank, but {placement.launcher} started {placement.size}. Leave the flag out, or start "
            "one process."
        )
    if wanted not in possible:
        raise ConfigError(
            f"--engine {wanted} cannot join the ranks that {placement.launcher} started, which --engine {possible[0]} joins. "
            f"{WAYS_TO_START[wanted]}"
        )
    return wanted


def load_engine(name: str) -> type[World]:
    """The class of an engine. Call it after the settings were made: it may load TensorFlow."""
    module, _, attribute = ENGINES[name].partition(":")
    return cast("type[World]", getattr(importlib.import_module(module), attribute))
