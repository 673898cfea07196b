"""Subclasses that Keras saves as the class they derive from.

What `DistributedOptimizer` returns must open on a machine without Horovod. Keras writes the name under which an
object's *class* is known; so the subclass is entered under its parent's name, for writing only. Reading still finds the
parent.
"""

from __future__ import annotations

from typing import Any, TypeVar

from keras.src import api_export
from keras.src.saving import object_registration

T = TypeVar("T")


def plain_subclass(parent: type, mixin: type, namespace: dict[str, Any] | None = None) -> type:
    """A subclass of `parent` with `mixin` in front, saved under the parent's name."""
    described = {"__module__": parent.__module__, "__qualname__": parent.__qualname__, "__doc__": parent.__doc__}
    child = type(parent.__name__, (mixin, parent), {**described, **(namespace or {})})
    save_as(child, parent)
    return child


def save_as(child: type, parent: type) -> None:
    """Make Keras write objects of class `child` as objects of class `parent`."""
    child.__name__ = parent.__name__  # the weights of a layer are filed under it
    public_name = api_export.get_name_from_symbol(parent)
    if public_name is not None:  # keras.optimizers.Adam
        api_export.REGISTERED_OBJS_TO_NAMES[child] = public_name
    elif parent in object_registration.GLOBAL_CUSTOM_NAMES:  # @keras.saving.register_keras_serializable
        object_registration.GLOBAL_CUSTOM_NAMES[child] = object_registration.GLOBAL_CUSTOM_NAMES[parent]


def become(instance: T, child: type) -> T:
    """Change the class of `instance` in place: its variables, its state and every reference to it stay."""
    object.__setattr__(instance, "__class__", child)
    return instance
