"""A checkpoint is written atomically, and is restored only into the model that it came from."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hvd_train.errors import CheckpointError
from hvd_train.files import writing
from hvd_train.runs import checkpoint, directory
from hvd_train.runs.training_state import TrainingState


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


STATE = TrainingState(epoch=3, step=5, best_loss=1.5, best_epoch=2, history=[{"epoch": 1, "loss": 2.0}])


def saved(folder: Path) -> Path:
    path = folder / "checkpoints" / directory.LAST
    checkpoint.save(path, variables(), STATE, config="[data]\n", data_checksum="abc")
    return path


def test_everything_comes_back_bit_for_bit(tmp_path: Path) -> None:
    loaded = checkpoint.load(saved(tmp_path))
    assert (loaded.state, loaded.config, loaded.data_checksum) == (STATE, "[data]\n", "abc")
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
        writing.write_atomically(path, write_half)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [directory.LAST]


@pytest.mark.parametrize("length", [0, 10, 300, -1])
def test_a_cut_file_is_refused(tmp_path: Path, length: int) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="this file is damaged"):
        checkpoint.load(path)


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    content = bytearray(path.read_bytes())
    content[200] ^= 1  # inside the first array's numbers
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="this file is damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize("bit", [0, *(pytest.param(bit, marks=pytest.mark.slow) for bit in range(1, 8))])
def test_no_flipped_bit_of_an_array_s_header_is_read_as_other_numbers(tmp_path: Path, bit: int) -> None:
    """numpy reads as many bytes as the header asks for, and zipfile compares the CRC only at a member's end."""
    path = saved(tmp_path)
    content = path.read_bytes()
    start = content.index(b"\x93NUMPY")
    for position in range(128):
        flipped = bytearray(content)
        flipped[start + position] ^= 1 << bit
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError, match="last.npz: this file is damaged"):
            checkpoint.load(path)


def test_arrays_that_are_not_what_their_names_say_are_refused(tmp_path: Path) -> None:
    """The shape (3, 1, 8) to (3, 1, 4), under a right checksum."""
    path = tmp_path / "last.npz"
    arrays = checkpoint.contents(variables(), STATE, config="", data_checksum="")
    for name, odd, says in [
        ("v0", np.zeros((3, 1, 4), np.float32), "conv/kernel (3, 1, 8) has the shape (3, 1, 4)"),
        ("v2", np.zeros(3, np.float32), "3 arrays, not those of its 2 names"),
        ("note", np.frombuffer(b'{"format": 2}', np.uint8), "note has no"),
        ("note", np.frombuffer(b"[" * 10**5, np.uint8), "RecursionError"),
    ]:
        checkpoint.write_arrays(path, {**arrays, name: odd})
        with pytest.raises(CheckpointError, match=re.escape(says)):
            checkpoint.load(path)


def test_numbers_of_another_type_belong_to_another_model(tmp_path: Path) -> None:
    loaded = checkpoint.load(saved(tmp_path))
    double = variables()
    double[0].value = double[0].value.astype(np.float64)
    with pytest.raises(CheckpointError, match=r"conv/kernel \(3, 1, 8\) is float32 there, and float64 in this run"):
        checkpoint.restore(loaded, double)


def test_files_have_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    """Colleagues who may read the pictures may read the model."""
    for mask, mode in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        before = os.umask(mask)
        try:
            writing.write_text(tmp_path / "config.toml", "")
            assert (tmp_path / "config.toml").stat().st_mode & 0o777 == mode
            descriptor, path = writing.new_file(tmp_path / "model.keras", suffix=".keras")
            os.close(descriptor)
            assert path.stat().st_mode & 0o777 == mode
        finally:
            os.umask(before)


def test_another_model_is_refused_naming_the_first_difference(tmp_path: Path) -> None:
    loaded = checkpoint.load(saved(tmp_path))
    wider = variables()
    wider[0].value = np.zeros((3, 1, 16), np.float32)
    with pytest.raises(CheckpointError, match=r"conv/kernel \(3, 1, 8\), this run has conv/kernel \(3, 1, 16\)"):
        checkpoint.restore(loaded, wider)
    with pytest.raises(CheckpointError, match="this run has nothing"):
        checkpoint.restore(loaded, variables()[:1])


def test_random_generators_go_by_no_number_of_keras_s(tmp_path: Path) -> None:
    """Keras counts them over a process: one that goes on with a run has made others before."""
    there, here = (FakeVariable(f"noise/seed_generator_{n}/seed_generator_state", np.array([1, n])) for n in (3, 12))
    path = tmp_path / "last.npz"
    checkpoint.save(path, [*variables(), there], STATE, config="", data_checksum="")
    checkpoint.restore(checkpoint.load(path), [*variables(), here])
    assert here.value.tolist() == [1, 3]


def test_one_of_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "FORMAT", 1)
    path = saved(tmp_path)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="format 1, this version reads format 2. End the run with the version"):
        checkpoint.load(path)


def test_no_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="start without --resume"):
        checkpoint.load(tmp_path / "last.npz")


def test_a_writer_s_checkpoint_holds_what_was_there_at_the_save(tmp_path: Path) -> None:
    """Written in the background, in order; what a later step does to the variables is not in it."""
    variable = FakeVariable("w", np.zeros(3, np.float32))
    with checkpoint.Writer() as writer:
        for epoch in (1, 2):
            variable.value[:] = epoch
            writer.save([tmp_path / "last.npz", tmp_path / "best.npz"], [variable], TrainingState(epoch=epoch),
                        config="", data_checksum="")  # fmt: skip
            variable.value[:] = -1
    for name in ("last.npz", "best.npz"):
        loaded = checkpoint.load(tmp_path / name)
        assert (loaded.state.epoch, loaded.variables[0].tolist()) == (2, [2, 2, 2])


def test_what_goes_wrong_in_the_background_is_raised_by_the_next_call(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    writer = checkpoint.Writer()
    nowhere = tmp_path / "file" / "last.npz"
    writer.save([nowhere], [], TrainingState(), config="", data_checksum="")
    with pytest.raises(OSError, match="file"):
        writer.finish()
    writer.finish()

    def interrupted() -> None:
        with writer:
            writer.save([nowhere], [], TrainingState(), config="", data_checksum="")
            raise KeyError

    with pytest.raises(KeyError):  # the error that ended the block is the one to tell
        interrupted()
