"""What a process that leaves at once clears away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# As TensorFlow loads what autograph has made of a function.
PROGRAM = """
import importlib.util, sys
from hvd_train.processes.ending import end_process, leave
for path in sys.argv[2:]:
    name = path.rpartition("/")[2][:-3]
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = importlib.util.module_from_spec(spec)
{"leave": lambda: leave(7), "end_process": lambda: end_process("a message", 7)}[sys.argv[1]]()
"""


def test_sources_that_tensorflow_generated_do_not_stay(tmp_path: Path) -> None:
    for how in ("leave", "end_process"):
        files = [tmp_path / "__autograph_generated_fileab12.py", tmp_path / "mine.py"]
        for file in files:
            file.touch()
        command = [sys.executable, "-c", PROGRAM, how, *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 7, done.stderr
        assert [file.exists() for file in files] == [False, True]
        assert done.stderr == ("a message\n" if how == "end_process" else "")
