"""hvd_train in an empty environment, as pip and `hvd-train horovod install` make it: what README.md promises."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from processes import BIN, REPOSITORY, run

SCRIPT = REPOSITORY / "examples" / "horovod_script.py"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_pip_and_horovod_install_are_enough_for_a_script_on_two_ranks(tmp_path: Path) -> None:
    """The wheel of Horovod is that of the cache, where the versions of the lock are the newest; else it is built."""
    run([BIN / "uv", "build", "--quiet", "--wheel", "--out-dir", tmp_path, REPOSITORY], timeout_s=120)
    (wheel,) = tmp_path.glob("hvd_train-*.whl")
    place = tmp_path / "environment"
    run([sys.executable, "-m", "venv", place], timeout_s=120)
    tensorflow = "tensorflow-cpu==2.21.0"
    run([place / "bin" / "pip", "install", "-q", f"{wheel}[cpu]", tensorflow], timeout_s=900)
    # Nothing of the environment that runs the tests.
    alone = {
        "PATH": f"{place / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "OPAL_PREFIX": None,
        "VIRTUAL_ENV": None,
        "PYTHONPATH": None,
    }
    before = run(["hvd-train", "horovod", "status"], timeout_s=60, env=alone, ok=False)
    assert before.code == 3
    assert "error  Horovod     is not installed in" in before.stdout
    done = run(["hvd-train", "horovod", "install"], timeout_s=1500, env=alone)
    assert "Two ranks under mpirun add: Horovod works here" in done.stderr
    after = run(["hvd-train", "horovod", "status"], timeout_s=60, env=alone)
    assert "built by hvd_train for what is here" in after.stdout
    said = run(["horovodrun", "-np", "2", "python", SCRIPT], timeout_s=200, env=alone)
    assert said.output.count("on 2 ranks") == 1
