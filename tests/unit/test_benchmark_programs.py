"""The programs that measure: what cannot work is said before minutes of work, and results are kept as they come."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.syspath_prepend(str(BENCHMARKS / "peers"))
    return importlib.import_module("compare")


def test_peers_without_an_environment_are_left_out_and_named(compare: ModuleType, tmp_path: Path) -> None:
    assert set(compare.without_environment(tmp_path)) == set(compare.PEERS_ALL)
    (tmp_path / "pytorch").mkdir()
    (tmp_path / "pytorch" / ".complete").touch()
    assert "PyTorch DDP, gloo, pinned" not in compare.without_environment(tmp_path)
    assert compare.peer_versions(tmp_path / "none") == {}


def test_rates_are_kept_after_each_repeat_and_a_peer_that_fails_is_left_out(
    compare: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[dict[str, int]] = []
    failures = iter([False, True])

    def peer() -> float:
        if next(failures):
            raise FileNotFoundError("torchrun")
        return 1.0

    rates = compare.measured(
        {compare.OURS: lambda: 2.0, "PyTorch DDP, gloo": peer},
        3,
        lambda rates: kept.append({name: len(of) for name, of in rates.items()}),
    )
    assert kept == [{compare.OURS: 1, "PyTorch DDP, gloo": 1}, {compare.OURS: 2}, {compare.OURS: 3}]
    assert rates == {compare.OURS: [2.0] * 3}
    assert "PyTorch DDP, gloo failed and is left out: torchrun" in capsys.readouterr().err
    assert compare.summary(rates)[compare.OURS]["ours_to_it"]["median"] == 1


def test_a_failure_of_ours_ends_it_with_what_was_kept(compare: ModuleType) -> None:
    kept: list[int] = []
    turns = iter([1.0, None])

    def ours() -> float:
        found = next(turns)
        if found is None:
            raise RuntimeError("no samples")
        return found

    with pytest.raises(RuntimeError, match="no samples"):
        compare.measured({compare.OURS: ours}, 3, lambda rates: kept.append(len(rates[compare.OURS])))
    assert kept == [1]


@pytest.mark.parametrize(
    ("program", "flags", "says"),
    [
        ("peers/compare.py", ["--only", "PyTorch"], "--only 'PyTorch': there is no such row. There are: hvd_train; "),
        ("peers/compare.py", ["--only", "PyTorch DDP, gloo", "--venvs", "none"], "make_venvs.sh"),
        ("settings.py", ["--only", "without everything"], "there is no such row"),
        ("settings.py", ["--out", "FILE/x"], "cannot be written"),
    ],
)
def test_what_cannot_work_is_said_at_once(tmp_path: Path, program: str, flags: list[str], says: str) -> None:
    (tmp_path / "FILE").touch()
    command = [sys.executable, BENCHMARKS / program, *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_rows_that_failed_again_stay_as_they_were(compare: ModuleType, tmp_path: Path) -> None:
    records = importlib.import_module("records")
    about = {"date": "2026-01-01T00:00:00", "machine": "2 cores, a CPU, Linux 6"}
    records.save(tmp_path, "peers", {**about, "rows": {"a": 1, "b": 1}})
    records.save(tmp_path, "peers", {**about, "rows": {"a": 2}}, again=["a", "b"], tables=["rows"])
    (written,) = tmp_path.glob("peers_*.json")
    assert json.loads(written.read_text())["rows"] == {"a": 2, "b": 1}
