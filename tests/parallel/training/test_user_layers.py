"""Layers and functions of a user's own in a model: saved as they are, opened again by evaluate, refused before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from hvd_train.errors import ConfigError
from hvd_train.inference.custom_objects import custom_objects, load, references
from hvd_train.runs.directory import RunDir
from hvd_train.runs.user_code import keep, use_kept
from hvd_train.training.precision.float32_copy import in_float32
from hvd_train.training.precision.mixed_precision import computing_in
from hvd_train.training.user_code.saveable import check_saveable


@keras.saving.register_keras_serializable(package="tests")
class Registered(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x * 3.0


class Block(keras.layers.Layer):
    """A layer that is made of layers."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.inner = keras.layers.Dense(units, activation="relu")

    def build(self, shape: Any) -> None:
        self.inner.build(shape)

    def call(self, x: Any) -> Any:
        return self.inner(x)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"units": self.units}


def cubed(x: Any) -> Any:
    return x**3


def model_of(*layers: Any) -> keras.Model:
    x = rows = keras.Input((4,))
    for layer in layers:
        x = layer(x)
    return keras.Model(rows, x)


KINDS = {
    "registered": (lambda: Registered(), {"tests>Registered": Registered}),
    "made of layers": (lambda: Block(3), {"Block": Block}),
    "a function as activation": (lambda: keras.layers.Dense(3, activation=cubed), {"cubed": cubed}),
    "a model inside": (lambda: keras.Sequential([keras.layers.Dense(3), Block(2)]), {"Block": Block}),
    "a wrapper": (lambda: keras.Sequential([keras.layers.Reshape((4, 1)), keras.layers.Bidirectional(keras.layers.SimpleRNN(2))]), {}),
}  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_is_saved_computes_in_float32_with_the_users_objects(kind: str, precision: str, tmp_path: Path) -> None:
    make, needed = KINDS[kind]
    with computing_in(precision):
        model = model_of(make(), keras.layers.Dense(2))
    told = check_saveable(model, is_of_the_user=True)
    assert (told is None) == (not needed)
    copy = in_float32(model)
    assert {layer.dtype_policy.name for layer in copy._flatten_layers(include_self=False)} == {"float32"}
    assert custom_objects(copy) == needed
    copy.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", custom_objects=needed, compile=False)
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    np.testing.assert_array_equal(again(x), copy(x))


def test_a_lambda_is_refused_before_training() -> None:
    model = model_of(keras.layers.Lambda(lambda x: x + 1))
    with pytest.raises(ConfigError, match=r"cannot be saved.*in place of keras\.layers\.Lambda"):
        check_saveable(model, is_of_the_user=True)


def test_a_name_that_the_saved_model_needs_is_refused_before_training() -> None:
    def whole(copy: Any) -> Any:
        return keras.Model(copy.input, keras.layers.Activation("linear", name="outputs")(copy.output))

    with pytest.raises(ConfigError, match="cannot be saved.*outputs"):
        check_saveable(model_of(keras.layers.Dense(2, name="outputs")), whole=whole, is_of_the_user=True)


def test_a_class_that_no_other_program_can_find_is_refused() -> None:
    class Local(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(ConfigError, match="at the top level of a module"):
        check_saveable(model_of(Local()))


def test_a_run_keeps_the_code_that_it_was_trained_with(tmp_path: Path) -> None:
    """The file was changed since, and then removed: the objects are those of the copy in the run directory."""
    file, run_dir = tmp_path / "layers_of_a_run.py", RunDir(tmp_path / "run")
    run_dir.path.mkdir()
    text = "import keras\nclass Gate(keras.layers.Layer):\n    number = 1\n"
    file.write_text(text)
    named = {"Gate": f"{file}:Gate"}
    keep(named.values(), run_dir)
    file.write_text(text.replace("number = 1", "number = 2"))
    use_kept(named.values(), run_dir, as_trained=True)
    assert load(named)["Gate"].number == 1
    file.unlink()
    use_kept(named.values(), run_dir, as_trained=True)
    assert load(named)["Gate"].number == 1
    with pytest.raises(ConfigError, match="there is no file"):
        load({"Gate": f"{tmp_path}/other.py:Gate"})
    assert references({"cubed": cubed}) == {"cubed": f"{Path(__file__).resolve()}:cubed"}
