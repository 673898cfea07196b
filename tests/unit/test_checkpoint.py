"""A checkpoint is whole or not there, and goes back only into the model it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hvd_train import checkpoint, rundir
from hvd_train.checkpoint import Progress
from hvd_train.errors import CheckpointError


@dataclass
class FakeVariable:
    """What a Keras variable shows of itself here."""

    path: str
    value: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return self.value

    def assign(self, value: np.ndarray) -> None:
        self.value = value


def variables(scale: float = 1.0) -> list[FakeVariable]:
    rng = np.random.default_rng(0)
    return [
        FakeVariable("seed_cnn/conv/kernel", scale * rng.normal(size=(3, 1, 8)).astype(np.float32)),
        FakeVariable("adam/iteration", np.array(7, dtype=np.int64)),
    ]


PROGRESS = Progress(epoch=3, step=5, best_loss=1.5, best_epoch=2, history=[{"epoch": 1, "loss": 2.0}])


def saved(folder: Path) -> Path:
    path = folder / "checkpoints" / rundir.LAST
    checkpoint.save(path, variables(), PROGRESS, config="[data]\n", data_checksum="abc")
    return path


def test_everything_comes_back_bit_for_bit(tmp_path: Path) -> None:
    loaded = checkpoint.load(saved(tmp_path))
    assert (loaded.progress, loaded.config, loaded.data_checksum) == (PROGRESS, "[data]\n", "abc")
    fresh = variables(scale=0.0)
    checkpoint.restore(loaded, fresh)
    for there, here in zip(variables(), fresh, strict=True):
        assert there.value.dtype == here.value.dtype
        assert there.value.tobytes() == here.value.tobytes()


def test_a_save_that_fails_leaves_the_one_before_and_no_rubbish(tmp_path: Path) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()

    def write_half(file: object) -> None:
        file.write(before[:100])  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        rundir.write_atomically(path, write_half)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [rundir.LAST]


@pytest.mark.parametrize("length", [0, 10, 300, -1])
def test_a_cut_file_is_refused(tmp_path: Path, length: int) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        checkpoint.load(path)


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    content = bytearray(path.read_bytes())
    content[200] ^= 1  # inside the first array's numbers
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        checkpoint.load(path)


def test_another_model_is_refused_naming_the_first_difference(tmp_path: Path) -> None:
    loaded = checkpoint.load(saved(tmp_path))
    wider = variables()
    wider[0].value = np.zeros((3, 1, 16), np.float32)
    with pytest.raises(CheckpointError, match=r"conv/kernel \(3, 1, 8\), this run has conv/kernel \(3, 1, 16\)"):
        checkpoint.restore(loaded, wider)
    with pytest.raises(CheckpointError, match="this run has nothing"):
        checkpoint.restore(loaded, variables()[:1])


def test_no_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="start without --resume"):
        checkpoint.load(tmp_path / "last.npz")


def test_sweep_removes_what_an_interrupted_save_left(tmp_path: Path) -> None:
    path = saved(tmp_path)
    (path.parent / ".last.npz.x7f3").write_bytes(b"half")
    checkpoint.sweep(path.parent)
    assert [p.name for p in path.parent.iterdir()] == [rundir.LAST]


def test_a_writer_s_checkpoint_holds_what_was_there_at_the_save(tmp_path: Path) -> None:
    """Written in the background, in order; what a later step does to the variables is not in it."""
    variable = FakeVariable("w", np.zeros(3, np.float32))
    with checkpoint.Writer() as writer:
        for epoch in (1, 2):
            variable.value[:] = epoch
            writer.save([tmp_path / "last.npz", tmp_path / "best.npz"], [variable], Progress(epoch=epoch),
                        config="", data_checksum="")  # fmt: skip
            variable.value[:] = -1
    for name in ("last.npz", "best.npz"):
        loaded = checkpoint.load(tmp_path / name)
        assert (loaded.progress.epoch, loaded.variables[0].tolist()) == (2, [2, 2, 2])


def test_what_goes_wrong_in_the_background_is_raised_by_the_next_call(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    writer = checkpoint.Writer()
    nowhere = tmp_path / "file" / "last.npz"
    writer.save([nowhere], [], Progress(), config="", data_checksum="")
    with pytest.raises(OSError, match="file"):
        writer.finish()
    writer.finish()

    def interrupted() -> None:
        with writer:
            writer.save([nowhere], [], Progress(), config="", data_checksum="")
            raise KeyError

    with pytest.raises(KeyError):  # the error that ended the block is the one to tell
        interrupted()
