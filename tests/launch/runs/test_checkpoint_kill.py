"""kill -9 of the root in the middle of a save, many times at random moments: a loadable checkpoint each time."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from hvd_train.runs import checkpoint, directory

# Saves as fast as it can; every array of checkpoint n is filled with n, so a mixture would show.
SAVER = """
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from hvd_train.runs import TrainingState, checkpoint
class Variable:
    def __init__(self, i, n): self.path, self.value = f"model/v{i}", np.full((256, 256), n, np.float32)
    shape = property(lambda self: self.value.shape)
    def __array__(self, dtype=None, copy=None): return self.value
path, n = Path(sys.argv[1]), int(sys.argv[2])
while True:
    n += 1
    checkpoint.save(path, [Variable(i, n) for i in range(8)], TrainingState(epoch=n), config="", data_checksum="")
    print(n, flush=True)
"""
NUM_KILLS = 25


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / directory.LAST
    reached = 0
    interrupted_writes = 0
    for kill in range(NUM_KILLS):
        command = [sys.executable, "-c", SAVER, str(path), str(reached)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as saver:
            try:
                assert saver.stdout is not None
                first = saver.stdout.readline()
                time.sleep(random.Random(kill).uniform(0, 0.03))
            finally:
                saver.kill()
            told = [int(line) for line in (first + saver.stdout.read()).split()]
        loaded = checkpoint.load(path)
        # What was said to be saved is there, or the one that was under way; never anything older or mixed.
        assert loaded.state.epoch in (told[-1], told[-1] + 1)
        assert all(np.all(value == loaded.state.epoch) for value in loaded.variables)
        interrupted_writes += len(list(path.parent.glob(".*")))
        directory.RunDir(tmp_path).sweep()
        assert not list(path.parent.glob(".*"))
        reached = loaded.state.epoch
    assert interrupted_writes > 0, "no kill met a save under way: the test shows nothing; make the arrays larger"
