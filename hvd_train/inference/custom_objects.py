"""The user's own classes and functions in a model: found when it is saved, loaded before it is opened.

data.json names each by its reference (`hvd_train.config.reference`). `hvd-train evaluate` and `predict` import them
from there. In plain Keras they are the `custom_objects` of `load_model`.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from hvd_train.config import reference_to, resolve

# The first part of the modules of what Keras finds by itself.
KERAS = ("keras", "builtins")
# Keras wraps these methods of each layer, and keeps the wrapper beside its attributes.
METHODS = ("build", "call", "quantize")


def custom_objects(model: Any) -> dict[str, Any]:
    """What opening the saved `model` needs beside Keras, by the names under which Keras saves it. Pure."""
    classes = {type(layer).__name__: type(layer) for layer in model._flatten_layers(include_self=False)}
    functions = custom_functions(model)
    found = {}
    for entry in _entries(keras.saving.serialize_keras_object(model)):
        if entry["class_name"] == "function":
            thing = functions.get(name := entry["config"])
        elif (name := entry["registered_name"]) and (module_name := entry["module"] or "").split(".")[0] not in KERAS:
            module, plain = sys.modules.get(module_name), entry["class_name"]
            thing = keras.saving.get_registered_object(name) or getattr(module, plain, None) or classes.get(plain)
        else:
            continue
        if thing is not None:
            found[name] = thing
    return found


def custom_functions(model: Any) -> dict[str, Any]:
    """The user's functions that layers of `model` hold, such as activations, by the names under which Keras saves them.

    Keras saves the name of a function without its module, so they are found in the layers. Pure.
    """
    found = {}
    for layer in model._flatten_layers(include_self=False):
        for attribute, value in vars(layer).items():
            is_function = isinstance(value, types.FunctionType) and attribute not in METHODS
            if is_function and value.__module__.split(".")[0] not in (*KERAS, "tensorflow", "hvd_train"):
                found[keras.saving.get_registered_name(value)] = value
    return found


def _entries(document: Any) -> Iterator[dict[str, Any]]:
    """Every object in what Keras has serialized. A registered class has a name of its own there, and no module."""
    if isinstance(document, dict):
        if {"module", "class_name", "config", "registered_name"} <= document.keys():
            yield document
        document = list(document.values())
    if isinstance(document, list | tuple):
        for part in document:
            yield from _entries(part)


def references(objects: Mapping[str, Any]) -> dict[str, str]:
    """The reference of each object, or ConfigError where another program could not find it. Pure."""
    return {name: reference_to(thing, key=f"the layer or function {name}") for name, thing in objects.items()}


def load(named: Mapping[str, str]) -> dict[str, Any]:
    """The objects of these references; ConfigError where one is gone. Every rank for itself."""
    return {name: resolve(reference, key=f"the layer or function {name}") for name, reference in named.items()}
