"""World: what the ranks can do together, at any number of ranks."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from hvd_train.distributed.engines import ENGINES, load_engine
from hvd_train.distributed.world import World
from hvd_train.errors import DataError, HvdTrainError, UserError
from hvd_train.gpus import Carrier, GpuOfRank
from hvd_train.training.equal_weights import require_equal_weights


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_is_a_whole_world(name: str) -> None:
    engine = load_engine(name)
    assert issubclass(engine, World)
    assert not engine.__abstractmethods__
    assert engine.engine == name


def test_sums_gathers_and_broadcasts(world: World) -> None:
    rank, size = world.rank, world.size
    total = world.allreduce_sum(np.array([[rank, 1.0], [0.5, rank**2]]))
    assert total.tolist() == [[size * (size - 1) / 2, size], [size / 2, sum(r**2 for r in range(size))]]
    assert total.dtype == np.float64
    assert world.allgather({"rank": rank}) == [{"rank": r} for r in range(size)]
    assert world.broadcast(f"from {rank}") == "from 0"


def test_ranks_tell_each_other_of_their_gpus(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With made-up GPUs and a made-up NCCL. Where two ranks share one, gradients are exchanged on the hosts."""
    if world.engine != "horovod":
        pytest.skip("one rank has nobody to tell")
    monkeypatch.setattr(world._hvd, "nccl_built", lambda: 23203)  # type: ignore[attr-defined]
    monkeypatch.setattr(world, "gpu", "/physical_device:GPU:0")
    monkeypatch.setattr(world, "carrier", None)

    def device_of_gradients() -> str:
        state = world.distribute(keras.optimizers.SGD()).hvd_state
        assert not state.share_update, "it is for CPUs, and ranks without a GPU would wait for the others"
        reduction = state.reduction
        assert reduction.device_sparse == reduction.device_dense
        return str(reduction.device_dense)

    world.meet_gpus(GpuOfRank("lab1", "GPU-a", "NVIDIA H100"))
    assert world.carrier is not None
    assert f"ranks {', '.join(map(str, range(world.size)))} share one GPU (NVIDIA H100 of lab1)" in world.carrier.text
    assert device_of_gradients() == "/CPU:0"
    assert world.allreduce_sum(np.ones(3)).tolist() == [world.size] * 3
    world.meet_gpus(GpuOfRank("lab1", f"GPU-{world.rank}"))
    assert world.carrier == Carrier(False, "NCCL, from GPU to GPU")
    assert device_of_gradients() == ""
    # A rank without a GPU: it does as the others do.
    world.meet_gpus(GpuOfRank("lab1", "" if world.is_root else "GPU-1"))
    assert world.carrier.on_host
    assert device_of_gradients() == "/CPU:0"
    monkeypatch.setattr(world, "gpu", None)
    world.meet_gpus(GpuOfRank("lab1"))
    assert world.carrier.text in ("MPI", "the memory that the ranks of this host share")
    assert world.distribute(keras.optimizers.SGD()).hvd_state.share_update


def test_a_float64_sum_keeps_its_bits(world: World) -> None:
    mine = np.zeros(world.size)
    mine[world.rank] = 0.1 * (world.rank + 1)
    assert world.allreduce_sum(mine).tolist() == [0.1 * (r + 1) for r in range(world.size)]


def test_an_error_of_one_rank_is_raised_on_all(world: World) -> None:
    def fail_on_last() -> int:
        if world.rank == world.size - 1:
            raise DataError("songs.csv, line 3: no number")
        return world.rank

    with pytest.raises(DataError, match="songs.csv, line 3: no number"):
        world.together(fail_on_last)
    # And the world still works afterwards.
    assert world.together(lambda: world.rank) == world.rank


def test_a_full_disk_on_the_root_is_a_message_on_all(world: World) -> None:
    def write() -> None:
        raise OSError(28, "No space left on device", "/disk/last.npz")

    with pytest.raises(UserError, match="/disk/last.npz: No space left on device"):
        world.together(write, on="root")


def test_a_rank_s_temporary_directories_are_not_in_another_s_way(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    roots = world.allgather(str(tmp_path_factory.getbasetemp().parent))
    assert len(set(roots)) == world.size


def test_who_takes_part(world: World) -> None:
    assert world.together(lambda: f"rank {world.rank}", on="root") == "rank 0"
    assert world.together(lambda: "here", on="local root") == ("here" if world.placement.local_rank == 0 else None)


def test_variables_become_the_root_s(world: World) -> None:
    import keras

    variables = [keras.Variable(np.full((2, 3), world.rank + 1.0)), keras.Variable(np.array(world.rank), dtype="int64")]
    world.broadcast_variables(variables)
    assert np.all(variables[0].numpy() == 1.0)
    assert int(variables[1].numpy()) == 0


def test_weights_that_differ_by_one_bit_are_found_and_their_ranks_named(world: World) -> None:
    import keras

    value = np.full((4, 4), 1.0, np.float32)
    variable = keras.Variable(value)
    require_equal_weights(world, [variable])
    if world.size == 1:
        return
    if world.rank == world.size - 1:
        value = value.copy()
        value[3, 3] = np.nextafter(np.float32(1), np.float32(2))
        variable.assign(value)
    with pytest.raises(HvdTrainError, match=f"rank {world.size - 1} differ"):
        require_equal_weights(world, [variable])
