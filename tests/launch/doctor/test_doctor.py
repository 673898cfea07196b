"""The doctor on this very machine: the environment of the tests is in good health, and one without mpirun is not."""

from __future__ import annotations

import sys
from pathlib import Path

from processes import BIN, run

ASK = """
import sys
from hvd_train.doctor.doctor import diagnose
diagnosis = diagnose(trial={trial})
print(diagnosis.text)
assert 'tensorflow' not in sys.modules
sys.exit(diagnosis.exit_code)
"""


def test_this_environment_is_in_good_health() -> None:
    text = run([sys.executable, "-c", ASK.format(trial=True)], timeout_s=280).stdout
    assert "two ranks under mpirun added 1 and 2 to 3" in text
    assert f"Horovod is linked to Open MPI 4.1.8 ({BIN.parent}/lib/libmpi.so" in text
    assert "error" not in text


def test_without_mpirun_and_packages_it_says_so(tmp_path: Path) -> None:
    """With a PYTHONPATH on which tensorflow and mpi4py are broken: nothing is in working order, and nothing hangs."""
    for name in ("tensorflow", "mpi4py"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('broken for the test')")
    code = f"import os; os.environ['PATH'] = {str(tmp_path)!r}\n" + ASK.format(trial=True)
    finished = run([sys.executable, "-c", code], timeout_s=60, env={"PYTHONPATH": str(tmp_path)}, ok=False)
    for told in (
        "TensorFlow  cannot be imported: ImportError: broken",
        "Horovod     cannot be",
        "mpirun      is not on PATH",
        "mpi4py      cannot",
    ):
        assert f"error    {told}" in finished.stdout, finished
    assert "4 errors" in finished.stdout
    assert "trial" not in finished.stdout
