"""Reduction in shared memory and the sharded update of Adam (hvd_train/horovod_build/patches): the same numbers as without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import horovod.tensorflow
import keras
import numpy as np
import pytest
import tensorflow as tf

from hvd_train.distributed.world import World
from hvd_train.optimizers import fused_adam

# Around a block of 1,024, and more than a window's 2 MiB.
LENGTHS = (0, 1, 15, 1023, 1024, 1025, 5000, 700_000)
SHAPES = ((3000, 7), (1024,), (), (5, 300), (1,))
# The moments of a weight whose gradient stays 0 become too small for a full mantissa.
TINY = 1.3e-38


@pytest.fixture
def hvd(world: World) -> Any:
    if world.size == 1:
        pytest.skip("one rank shares with nobody")
    import hvd_train.keras as hvd_keras
    from hvd_train.keras.optimizers import shared_update

    assert shared_update.block_length() == 1024
    return hvd_keras


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32"])
def test_sums_and_means_of_all_lengths(hvd: Any, dtype: str) -> None:
    """The last two types go the old way."""
    rank, size = hvd.rank(), hvd.size()
    for turn in range(3):  # windows alternate
        mine = [(np.arange(n) % 50 + rank + turn).astype(dtype) for n in LENGTHS]
        sums = hvd.grouped_allreduce([tf.constant(a) for a in mine], op=hvd.Sum, name=f"sums.{dtype}")
        for a, total in zip(mine, sums, strict=True):
            assert total.numpy().tolist() == (size * (a - rank) + size * (size - 1) // 2).astype(dtype).tolist()
    mean = hvd.allreduce(tf.fill([2000], tf.cast(2 * rank, dtype)), op=hvd.Average, name=f"mean.{dtype}")
    assert mean.numpy().tolist() == [size - 1] * 2000


def test_a_gradient_that_something_else_reads_is_not_averaged_in_its_place(hvd: Any) -> None:
    @tf.function
    def both(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        gradient = x * 2.0
        (mean,) = hvd.grouped_allreduce([gradient], name="held")
        with tf.control_dependencies([mean]):
            return tf.identity(gradient), mean

    gradient, mean = both(tf.fill([3000], float(hvd.rank())))
    assert set(gradient.numpy()) == {2.0 * hvd.rank()}
    assert set(mean.numpy()) == {hvd.size() - 1.0}


def test_a_group_of_gradients_is_averaged_where_it_lies(hvd: Any) -> None:
    """By the peak of the process's memory: a second buffer would be as much again."""
    megabytes = 64

    @tf.function(input_signature=[tf.TensorSpec([None])])
    def mean(x: tf.Tensor) -> tf.Tensor:
        (averaged,) = hvd.grouped_allreduce([x * 2.0], name="in_place")
        return averaged

    def memory(name: str) -> int:
        """Of this process, in MB."""
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) >> 10 for line in lines if line.startswith(name))

    mean(tf.ones([5000]))
    x = tf.fill([megabytes << 18], float(hvd.rank()))
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
    averaged = mean(x)
    assert megabytes * 0.5 < memory("VmHWM") - before < megabytes * 1.5
    assert averaged[-1] == hvd.size() - 1


def trained(hvd: Any, optimizer: Any, *, share: bool, name: str, steps: int = 12) -> tuple[Any, list[bytes]]:
    """The optimizer, and the bytes of weights and state, after steps with other gradients on each rank."""
    variables = [keras.Variable(np.linspace(-1, 1, int(np.prod(s))).reshape(s).astype("float32")) for s in SHAPES]
    optimizer = hvd.DistributedOptimizer(optimizer, name=name, share_update=share)
    optimizer.build(variables)
    for state in (*optimizer._momentums, *optimizer._velocities):
        state.assign(tf.fill(state.shape, TINY))

    def gradient(variable: Any, step: tf.Tensor) -> tf.Tensor:
        """None of it where the weight is positive; and where it is not, up to nearly nothing."""
        scale = 10.0 ** tf.cast(-3 * step, tf.float32) * (1.0 + hvd.rank())
        return tf.where(variable > 0, 0.0, tf.convert_to_tensor(variable) * scale)

    @tf.function
    def train() -> None:
        for step in tf.range(steps):
            optimizer.apply([gradient(v, step) for v in variables], variables)

    train()
    optimizer.hvd_gather_state()
    return optimizer, [np.asarray(v).tobytes() for v in (*variables, *optimizer.variables)]


def optimizers() -> list[tuple[str, Any, bool]]:
    return [
        ("adam", lambda: fused_adam.Adam(0.01), True),
        ("adamw", lambda: fused_adam.AdamW(0.01, weight_decay=0.1), True),
        ("ema", lambda: fused_adam.Adam(0.01, use_ema=True), True),
        ("clipped", lambda: fused_adam.Adam(0.01, global_clipnorm=0.1), False),
        ("clipped_each", lambda: fused_adam.Adam(0.01, clipnorm=0.1), False),
        ("accumulated", lambda: fused_adam.Adam(0.01, gradient_accumulation_steps=2), False),
        ("amsgrad", lambda: fused_adam.Adam(0.01, amsgrad=True), False),
        ("plain", lambda: keras.optimizers.Adam(0.01), False),
    ]


@pytest.mark.parametrize(("name", "make", "shares"), optimizers(), ids=[name for name, _, _ in optimizers()])
def test_an_update_that_is_shared_out_changes_no_bit(
    hvd: Any, world: World, name: str, make: Any, shares: bool
) -> None:
    together, shared = trained(hvd, make(), share=True, name=f"{name}.shared")
    _, alone = trained(hvd, make(), share=False, name=f"{name}.alone")
    assert together.hvd_state.shared == shares
    assert shared == alone
    assert world.allgather(shared) == [shared] * world.size


@pytest.mark.parametrize("graph", [False, True])
def test_each_rank_updates_its_own_blocks_of_the_moments(hvd: Any, graph: bool) -> None:
    """A small function is run by TensorFlow in the thread that calls it, which has no workers."""
    variable = keras.Variable(np.ones(4096, "float32"))
    optimizer = hvd.DistributedOptimizer(fused_adam.Adam(0.01), share_update=True)
    optimizer.build([variable])

    def update() -> None:
        optimizer.apply([tf.ones(4096)], [variable])

    (tf.function(update) if graph else update)()
    own = np.arange(4096) // 1024 % hvd.size() == hvd.rank()
    assert ((optimizer._momentums[0].numpy() != 0) == own).all()
    optimizer.hvd_gather_state()
    assert (optimizer._momentums[0].numpy() != 0).all()


def test_a_rank_that_has_joined_stops_a_shared_update(hvd: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """It brings no update, and the means of the gradients would be taken for weights. Joined by Horovod's own function,
    which does not ask."""
    variable, why = keras.Variable(np.ones((3000, 2), "float32")), "none may join (hvd.join) before the others"
    optimizer = hvd.DistributedOptimizer(fused_adam.Adam(0.01), share_update=True)
    optimizer.apply([tf.ones((3000, 2))], [variable])
    before = variable.numpy()
    if hvd.rank() == 0:
        with pytest.raises(tf.errors.InvalidArgumentError, match="updates 1 weights .* rank 1 updates 0") as caught:
            optimizer.apply([tf.ones((3000, 2))], [variable])
        assert why in str(caught.value)
    horovod.tensorflow.join()
    assert (variable.numpy() == before).all()
    assert why in capfd.readouterr().err  # on every rank: those that have joined can raise nothing


def test_ranks_do_not_share_an_update_that_each_would_make_otherwise(hvd: Any) -> None:
    """Each would update its blocks at its own learning rate."""
    variable = keras.Variable(np.ones((3000, 2), "float32"))
    last = hvd.rank() == hvd.size() - 1
    optimizer = hvd.DistributedOptimizer(fused_adam.Adam(0.02 if last else 0.01), share_update=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"Rank {hvd.size() - 1} .* another learning rate"):
        optimizer.apply([tf.ones((3000, 2))], [variable])
    assert (variable.numpy() == 1).all()
    optimizer.learning_rate = 0.01
    optimizer.apply([tf.ones((3000, 2))], [variable])
    assert (variable.numpy() < 1).all()


def test_what_cannot_be_shared_out_is_averaged(hvd: Any) -> None:
    def shared(gradients: Sequence[Any], **wrap: Any) -> bool:
        variables = [keras.Variable(np.ones((2000, 2), "float32")) for _ in gradients]
        optimizer = hvd.DistributedOptimizer(fused_adam.Adam(0.01), share_update=True, **wrap)
        optimizer.apply(gradients, variables)
        return bool(optimizer.hvd_state.shared)

    dense = tf.ones((2000, 2))
    assert all(shared([dense], groups=groups) for groups in (None, 1))
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        assert not shared([dense, None])
    assert not shared([tf.IndexedSlices(tf.ones((1, 2)), tf.constant([3]), tf.constant([2000, 2]))])
    assert not shared([dense], compression=hvd.Compression.fp16)
    assert not shared([dense], op=hvd.Sum)
    assert not shared([dense], groups=2)
    assert not shared([dense], backward_passes_per_step=2)
    assert not shared([dense], gradient_predivide_factor=2.0)


def test_an_optimizer_that_shares_its_updates_refuses_what_it_cannot_share(hvd: Any) -> None:
    variable = keras.Variable(np.ones((2000, 2), "float32"))
    optimizer = hvd.DistributedOptimizer(fused_adam.Adam(0.01), share_update=True)
    optimizer.apply([tf.ones((2000, 2))], [variable])
    sparse = tf.IndexedSlices(tf.ones((1, 2)), tf.constant([3]), tf.constant([2000, 2]))
    with pytest.raises(ValueError, match="shares its updates out over the ranks, and this one cannot be"):
        optimizer.apply([sparse], [variable])


def one_weight(hvd: Any, steps: int = 2) -> tuple[Any, keras.Variable]:
    variable = keras.Variable(np.ones(4096, "float32"))
    optimizer = hvd.DistributedOptimizer(fused_adam.Adam(0.01), share_update=True)
    for _ in range(steps):
        optimizer.apply([tf.ones(4096)], [variable])
    return optimizer, variable


def test_moments_that_are_out_of_date_are_never_saved(hvd: Any) -> None:
    """Not on the root alone, not on all; gathered they are saved whole, and one step later no more."""
    optimizer, variable = one_weight(hvd)
    with pytest.raises(ValueError, match=r"out of date.*hvd_gather_state\(\) on every rank"):
        optimizer.save_own_variables({})
    optimizer.hvd_gather_state()
    store: dict[str, Any] = {}
    optimizer.save_own_variables(store)
    moments = [np.asarray(value) for value in store.values() if np.shape(value) == (4096,)]
    assert len(moments) == 2
    assert all((m == m[0]).all() for m in moments)
    assert all(m[0] > 0 for m in moments)
    optimizer.apply([tf.ones(4096)], [variable])
    with pytest.raises(ValueError, match="out of date"):
        optimizer.save_own_variables({})
    optimizer.load_own_variables(store)
    optimizer.save_own_variables({})


@pytest.mark.parametrize("loads", [False, True])
def test_a_broadcast_takes_whole_moments(hvd: Any, loads: bool) -> None:
    """The ranks' parts are brought together first; but not mixed into what the root has loaded."""
    optimizer, _ = one_weight(hvd)
    momentum = optimizer._momentums[0]
    if loads:
        optimizer.hvd_gather_state()
        store: dict[str, Any] = {}
        optimizer.save_own_variables(store)
        store = {k: np.asarray(v) * 0 + 3 if np.shape(v) == (4096,) else v for k, v in store.items()}
        if hvd.rank() == 0:
            optimizer.load_own_variables(store)
    hvd.broadcast_variables(optimizer.variables, root_rank=0)
    values = momentum.numpy()
    assert (values == values[0]).all()
    assert (values[0] == 3.0) == loads
    assert values[0] > 0


def test_join_is_refused_while_updates_are_shared_out(hvd: Any) -> None:
    optimizer, _ = one_weight(hvd)
    with pytest.raises(ValueError, match="share_update=False"):
        hvd.join()
    assert optimizer.hvd_state.shared


def test_model_checkpoint_on_the_root_alone_writes_whole_moments(hvd: Any, tmp_path: Path) -> None:
    """At an epoch's end fit() has brought them together; after fit() too."""
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
    model.compile(hvd.DistributedOptimizer(fused_adam.Adam(0.01), share_update=True), "mse")
    callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]
    path = tmp_path / "best.keras"
    if hvd.rank() == 0:
        callbacks.append(keras.callbacks.ModelCheckpoint(path))
    model.fit(np.ones((8, 64)), np.ones((8, 64)), epochs=2, verbose=0, callbacks=callbacks)
    assert model.optimizer.hvd_state.shared
    if hvd.rank() == 0:
        objects = {"Adam": fused_adam.Adam}
        saved = keras.models.load_model(path, custom_objects=objects).optimizer
        for here, there in zip(model.optimizer.variables, saved.variables, strict=True):
            np.testing.assert_array_equal(np.asarray(there), np.asarray(here))
        model.save(tmp_path / "after.keras")


@pytest.mark.parametrize(
    ("devices", "shares"),
    [
        (["/job:localhost/replica:0/task:0/device:CPU:0"], True),
        (["", "/device:CPU:0"], True),
        (["/job:localhost/replica:0/task:0/device:CPU:0", "/job:localhost/replica:0/task:0/device:GPU:0"], False),
        (["/device:TPU:0"], False),
    ],
)
def test_updates_are_shared_out_on_cpus_alone(
    hvd: Any, devices: list[str], shares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With made-up devices: plain Adam takes over, and it is said once."""
    from hvd_train.keras.optimizers import shared_update

    assert shared_update.on_cpus(devices) == shares
    original = shared_update.on_cpus
    monkeypatch.setattr(shared_update, "on_cpus", lambda _: original(devices))
    said: list[str] = []
    monkeypatch.setattr(shared_update, "say_once", said.append)
    optimizer, variable = one_weight(hvd)
    assert bool(optimizer.hvd_state.shared) == shares
    assert any("some are not" in words for words in said) != shares
    np.testing.assert_allclose(variable.numpy(), 0.98, atol=1e-5)
