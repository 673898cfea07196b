"""n ranks with a DistributedOptimizer train as one process does on the concatenated batch.

Tolerance: TOLERANCE (2e-5) on each weight after 6 updates, in float32; between ranks, none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import optimizers
from keras_training import assert_alike, assert_same_training, trained_alone, trained_together, weights

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: optimizers.SGD(0.05),
    "SGD momentum": lambda: optimizers.SGD(0.05, momentum=0.9),
    "SGD nesterov": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "Adam": lambda: optimizers.Adam(0.01),
    "Adam amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "AdamW": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "RMSprop": lambda: optimizers.RMSprop(0.01),
    "RMSprop momentum centered": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "Adagrad": lambda: optimizers.Adagrad(0.05),
    "Adadelta": lambda: optimizers.Adadelta(1.0),
    "Adamax": lambda: optimizers.Adamax(0.01),
    "Nadam": lambda: optimizers.Nadam(0.01),
    "Ftrl": lambda: optimizers.Ftrl(0.05),
    "Lion": lambda: optimizers.Lion(0.005),
    "Lamb": lambda: optimizers.Lamb(0.01),
    "Adafactor": lambda: optimizers.Adafactor(0.01),
}
# With state of each kind: none, moments, factors of moments, averaged weights, several optimizers. The rest is slow.
USUAL = ("SGD momentum", "Adam", "Adafactor", "ScheduleFreeAdamW", "MultiOptimizer")
# Those that not every Keras 3 has.
if hasattr(optimizers, "Muon"):
    OPTIMIZERS["Muon"] = lambda: optimizers.Muon(0.01)
if hasattr(optimizers, "ScheduleFreeAdamW"):
    OPTIMIZERS["ScheduleFreeAdamW"] = lambda: optimizers.ScheduleFreeAdamW(0.01)
if hasattr(optimizers, "MultiOptimizer"):
    OPTIMIZERS["MultiOptimizer"] = lambda: optimizers.MultiOptimizer(
        optimizers.OptimizerMap(optimizers.SGD(0.05), {".*bias": optimizers.Adam(0.01)})
    )


def test_every_stock_optimizer_is_in_the_list() -> None:
    stock = {
        name
        for name, value in vars(optimizers).items()
        if isinstance(value, type) and issubclass(value, optimizers.Optimizer) and value is not optimizers.Optimizer
    }
    assert stock - {name.split()[0] for name in OPTIMIZERS} == {"LossScaleOptimizer"}  # see test_loss_scale.py


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in USUAL else pytest.mark.slow) for name in OPTIMIZERS]
)
def test_stock_optimizer(name: str) -> None:
    make = OPTIMIZERS[name]
    # Keras' ScheduleFreeAdamW starts its slots from the weights only where it is built outside a graph.
    options = {"run_eagerly": name != "ScheduleFreeAdamW"}
    assert_same_training(trained_together(make()), trained_alone(make(), **options))


@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"steps_per_execution": 4}], ids=str)
def test_loop(options: dict[str, Any]) -> None:
    assert_same_training(trained_together(optimizers.Adam(0.01), **options), trained_alone(optimizers.Adam(0.01)))


UPDATES: dict[str, Callable[[], Any]] = {
    "clipnorm": lambda: optimizers.SGD(0.1, clipnorm=0.05),
    "clipvalue": lambda: optimizers.SGD(0.1, clipvalue=0.02),
    "global_clipnorm": lambda: optimizers.SGD(0.1, global_clipnorm=0.05),
    "weight_decay": lambda: optimizers.SGD(0.1, weight_decay=0.1),
    "ema": lambda: optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2),
    "gradient_accumulation": lambda: optimizers.Adam(0.02, gradient_accumulation_steps=2),
    "schedule": lambda: optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)),
    "cosine with warmup": lambda: optimizers.SGD(
        optimizers.schedules.CosineDecay(0.0, 4, warmup_target=0.1, warmup_steps=2)
    ),
    "loss_scale_factor": lambda: optimizers.SGD(0.05, loss_scale_factor=128.0),
    "callable rate": lambda: optimizers.SGD(lambda: 0.05),
}


@pytest.mark.parametrize("make", UPDATES.values(), ids=UPDATES.keys())
def test_what_an_update_does_it_does_after_averaging(make: Callable[[], Any]) -> None:
    """Clipping, decay, moving averages and accumulation see the averaged gradients."""
    assert_same_training(trained_together(make()), trained_alone(make()))


def test_accumulated_gradients_are_alike_on_all_ranks() -> None:
    """Keras' accumulators hold averages, reduced at every pass: so they can be saved, broadcast and restored."""
    optimizer = optimizers.SGD(0.1, gradient_accumulation_steps=4)  # 6 steps: two are pending
    trained_together(optimizer)
    pending = np.concatenate([v.numpy().ravel() for v in optimizer._accumulated_gradients])
    assert np.abs(pending).max() > 0
    assert_alike(pending)


def test_optimizer_wrapped_after_build_keeps_its_state() -> None:
    """Slots, iterations and rate stay: training goes on as if it had been distributed from the start."""
    from keras_training import batches, mine, small_model

    import hvd_train.keras as hvd

    x, y = batches()
    model, reference = small_model(), small_model()
    plain = optimizers.Adam(0.01)
    for m, optimizer in ((model, plain), (reference, optimizers.Adam(0.01))):
        m.compile(optimizer, "mse", jit_compile=False)
        m.train_on_batch(x[0], y[0])  # the global batch: the same on every rank
    wrapped = hvd.DistributedOptimizer(plain)
    assert wrapped is plain
    assert int(wrapped.iterations) == 1
    model.compile(wrapped, "mse")
    for step in range(1, len(x)):
        model.train_on_batch(mine(x)[step], mine(y)[step])
        reference.train_on_batch(x[step], y[step])
    assert_same_training(model, reference)


def test_plain_optimizer_does_not_average() -> None:
    """The tests above would fail without the wrapper: ranks drift apart on their own data."""
    from keras_training import batches, fit, mine

    import hvd_train.keras as hvd

    x, y = batches()
    model = fit(optimizers.SGD(0.05), mine(x), mine(y))
    everyone = hvd.allgather(weights(model)[np.newaxis]).numpy()
    assert hvd.size() == 1 or np.abs(everyone - everyone[0]).max() > 1e-3
    assert keras.config.floatx() == "float32"
