"""A network from outside: a user's function of (N, L, C), named by a reference.

    import dataclasses, keras

    @dataclasses.dataclass(frozen=True)
    class Wide:
        width: int = 64

    def wide(x_NLC, config: Wide):
        x = keras.layers.Conv1D(config.width, 3, padding="same", activation="relu")(x_NLC)
        return keras.layers.GlobalAveragePooling1D()(x)

`hvd-train train --model nets.py:wide --model-options width=128`. The options are the fields of the dataclass that
annotates the parameter `config`, or that is its default; a function without that parameter has none. Shape letters:
N rows, L positions, C channels, U units.
"""

from __future__ import annotations

import dataclasses
import inspect
import traceback
import typing
from collections.abc import Callable
from typing import Any

import keras
from keras.src.utils import naming

from hvd_train.config import parse_options, resolve
from hvd_train.errors import ConfigError, UserError
from hvd_train.models.convolution import Conv1D
from hvd_train.models.dense import Dense
from hvd_train.models.dropout import Dropout
from hvd_train.models.inputs import PREPARED
from hvd_train.models.seeds import Seeds

# A layer from the config of another.
LayerOfSettings = Callable[[dict[str, Any]], Any]
KEY = "model"
# Layers of ours that compute what Keras's own do, faster. They stand for these exact classes alone.
TWINS: dict[type, Any] = {keras.layers.Dense: Dense, keras.layers.Conv1D: Conv1D}


def own_network(reference: str, options: tuple[str, ...]) -> Callable[[Any], Any]:
    """The user's function with its config, (N, L, C) -> (N, U). All ranks need its file.

    Raises:
        ConfigError: there is no such function, or it has no such options.
    """
    function = resolve(reference, key=KEY)
    if not callable(function) or isinstance(function, type):
        raise ConfigError(
            f"{KEY} = {reference!r} is not possible: it is no function. A network is a function of x_NLC, and of a config "
            "where it has options, that returns (N, U)."
        )
    parameters = inspect.signature(function).parameters
    if "config" not in parameters:
        if options:
            raise ConfigError(
                f"model-options = {' '.join(options)}: {reference} has no options, since it takes no config."
            )
        return typing.cast(Callable[[Any], Any], function)
    default = parameters["config"].default
    kind = typing.get_type_hints(function).get("config", type(default))
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise ConfigError(
            f"{KEY} = {reference!r} is not possible: its parameter config needs a dataclass, as its annotation or its default."
        )
    config = parse_options(kind, options, base=default if isinstance(default, kind) else None, key="model-options")
    return lambda x_NLC: function(x_NLC, config=config)


def built(
    network: Callable[[Any], Any],
    reference: str,
    x_NF: Any,
    x_NLC: Any,
    seeds: Seeds,
    batch_normalization: LayerOfSettings | None,
) -> tuple[Any, Any]:
    """The rows (N, F) and the output (N, U) of the network, where x_NLC is made of the rows x_NF. All ranks.

    Dropout and batch normalization of Keras are replaced by layers that compute over the global batch, so that the
    number of ranks does not matter. Only exact classes are replaced, and only outside a user's own layers.
    """
    try:
        x_NU = network(x_NLC)
        require_rows_of_units(x_NU, reference)
        whole = keras.Model(x_NF, x_NU)
    except UserError:
        raise
    except Exception as error:
        raise failure(error, reference) from error
    before = {id(layer) for layer in keras.Model(x_NF, x_NLC).layers}

    def trained(layer: Any) -> Any:
        if layer.name == PREPARED:  # its output is looked up, so it must have one alone
            return type(layer).from_config(layer.get_config())
        return layer if id(layer) in before else over_all_ranks(layer, seeds, batch_normalization)

    copy = keras.models.clone_model(whole, clone_function=trained)
    return copy.input, copy.output


def require_rows_of_units(x_NU: Any, reference: str) -> None:
    """ConfigError unless the output of the user's function is one Keras tensor (N, U)."""
    shape = getattr(x_NU, "shape", None)
    if not isinstance(x_NU, keras.KerasTensor) or len(shape or ()) != 2 or x_NU.shape[1] is None:
        found = (
            f"shape {tuple(shape)}" if isinstance(x_NU, keras.KerasTensor) and shape is not None else repr(x_NU)[:100]
        )
        raise ConfigError(
            f"{KEY} = {reference!r} gives {found}; a network gives one tensor (N, U). End it with Flatten or a pooling layer."
        )


def failure(error: Exception, reference: str) -> ConfigError:
    """An error of the user's function in one line, with the line of the user's file."""
    place = reference.rpartition(":")[0]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == place]
    where = f" in line {frames[-1].lineno}" if frames else ""
    reason = " ".join(str(error).split())[:300]
    return ConfigError(f"{KEY} = {reference!r} cannot be built: {type(error).__name__}{where}: {reason}")


def over_all_ranks(layer: Any, seeds: Seeds, batch_normalization: LayerOfSettings | None) -> Any:
    """The layer that is trained in place of a user's `layer`: mostly itself, else one with the same weights."""
    twin = _twin(layer, seeds, batch_normalization)
    if twin is None:
        return layer
    if layer.built:
        twin.build_from_config(layer.get_build_config())
        twin.set_weights(layer.get_weights())
    return twin


def _twin(layer: Any, seeds: Seeds, batch_normalization: LayerOfSettings | None) -> Any | None:
    kind = type(layer)
    if kind in TWINS:
        try:
            return TWINS[kind].from_config(layer.get_config())
        except (TypeError, ValueError):  # a setting of it is code of the user's, which its config names alone
            return None
    if kind is keras.layers.Dropout and (not layer.noise_shape or layer.noise_shape[0] is None):
        settings = layer.get_config()
        seed = seeds.next() if settings["seed"] is None else settings["seed"]
        return Dropout(**settings | {"seed": seed, "rank": seeds.rank})
    if kind is keras.layers.BatchNormalization and batch_normalization is not None:
        return batch_normalization(layer.get_config())
    return None


def reset_layer_names() -> None:
    """Let Keras count the layers of the next model from the start.

    Keras names a layer without a name by how many this process has made before. A checkpoint goes by these names.
    """
    naming.reset_uids()
