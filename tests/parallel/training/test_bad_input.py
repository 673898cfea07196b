"""What a user gets wrong is one and the same message on every rank, and loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_inputs import BAD_INPUTS, BadInput

from hvd_train.config import SplitConfig, TableConfig, recipes
from hvd_train.data import prepare
from hvd_train.distributed.world import World
from hvd_train.errors import UserError
from hvd_train.runs.directory import RunDir
from hvd_train.training.run import train_and_evaluate


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_bad_tables_raise_the_same_message_on_every_rank(world: World, shared_dir: Path, bad: BadInput) -> None:
    path = bad.make(shared_dir / "table.csv") if world.is_root else None
    path = world.broadcast(path)
    batch = int(bad.flags[1]) if bad.flags else None
    config = recipes.DEBUG.replace(
        table={"path": path, "cache_dir": shared_dir / "cache"},
        split={"num_virtual_shards": 48},
        training={"global_batch_size": batch},
    )
    run_dir = RunDir(shared_dir / "run")
    with pytest.raises(UserError) as raised:
        train_and_evaluate(config, world, run_dir)
    messages = world.allgather(str(raised.value))
    assert len(set(messages)) == 1
    for text in bad.says:
        assert text in messages[0]
    assert "Traceback" not in messages[0]
    assert not run_dir.path.exists()


@pytest.mark.parametrize(("split", "shard"), [("train", 47), ("val", 20), ("test", 0)])
def test_a_flipped_bit_in_a_shard_is_one_message_on_every_rank(
    world: World, shared_dir: Path, split: str, shard: int
) -> None:
    """Only one rank reads the shard. The others would wait for it."""
    table, shards = TableConfig(num_songs=1000, cache_dir=shared_dir / "cache"), SplitConfig(num_virtual_shards=48)
    directory = world.together(lambda: prepare(table, shards), on="root")
    assert directory is not None
    damaged = directory / split / f"{shard:05d}.npy"
    if world.is_root:
        content = bytearray(damaged.read_bytes())
        content[-30] ^= 4
        damaged.write_bytes(content)
    world.together(lambda: None)
    recipe = recipes.DEBUG.replace(table={"path": directory}, training={"num_epochs": 1})
    with pytest.raises(UserError, match="this file is damaged.*Delete .* and convert the table again") as raised:
        train_and_evaluate(recipe, world, RunDir(shared_dir / "run"))
    messages = world.allgather(str(raised.value))
    assert len(set(messages)) == 1
    assert str(damaged) in messages[0]


def test_a_run_directory_that_cannot_be_written(world: World, shared_dir: Path) -> None:
    (shared_dir / "file").write_text("not a directory")
    with pytest.raises(UserError, match=r"run directory .*/file/run cannot be written.*--run-dir"):
        train_and_evaluate(
            recipes.DEBUG.replace(table={"num_songs": 1000}, split={"num_virtual_shards": 48}),
            world,
            RunDir(shared_dir / "file" / "run"),
        )


def test_resuming_with_other_data_or_another_model_is_refused(world: World, shared_dir: Path) -> None:
    config = recipes.DEBUG.replace(
        table={"num_songs": 1000}, split={"num_virtual_shards": 48}, training={"num_epochs": 1}
    )
    run_dir = RunDir(shared_dir / "run")
    train_and_evaluate(config, world, run_dir)
    before = run_dir.last.read_bytes()
    for changes, message in (
        ({"table": {"num_songs": 1001}, "split": {"seed": 1}}, "other data"),
        ({"model": {"filters": (8, 16)}}, "another model"),
    ):
        with pytest.raises(UserError, match=message):
            train_and_evaluate(config.replace(**changes), world, run_dir, resume=True)
    assert run_dir.last.read_bytes() == before
