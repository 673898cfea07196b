"""The command as a user types it: exit codes, one message, nothing lost; one rank, and two where ranks matter."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_inputs import BAD_INPUTS, BadInput, table, write
from disks import mounted_disk
from processes import REPOSITORY, horovodrun, mpirun, run, started

from hvd_train.cli.verbs import main

HOST = socket.gethostname()
TINY = ["--recipe", "debug", "--num-epochs", "2", "--num-songs", "1000"]


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_bad_tables_get_one_message_and_code_2(
    tmp_path: Path, bad: BadInput, capfd: pytest.CaptureFixture[str]
) -> None:
    path = bad.make(tmp_path / "table.csv")
    run_dir = tmp_path / "run"
    code = main(["train", "--recipe", "debug", "--data", str(path), "--run-dir", str(run_dir), "--cache-dir", str(tmp_path / "cache"), *bad.flags])  # fmt: skip
    out = capfd.readouterr()
    assert code == 2
    (message,) = [line for line in out.err.splitlines() if line.startswith("error: ")]
    assert all(text in message for text in bad.says), message
    assert "Traceback" not in out.out + out.err
    assert not run_dir.exists()


@pytest.mark.parametrize("launcher", [horovodrun, pytest.param(mpirun, marks=pytest.mark.slow)])
def test_on_two_ranks_the_message_comes_once(tmp_path: Path, launcher: object) -> None:
    path = BAD_INPUTS[2].make(tmp_path / "table.csv")
    done = run(
        launcher(2, "hvd-train", "train", "--data", path, "--run-dir", tmp_path / "run"), timeout_s=120, ok=False
    )  # type: ignore[operator]
    assert done.code == 2
    assert done.output.count("error: ") == 1, str(done)
    assert "line 11" in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--num-epoch", "3"], "--num-epochs"),
        (["--num-epochs", "many"], "many"),
        (["--num-epochs", "0"], "num_epochs"),
        (["--recipe", "nothing"], "default, debug, reference, leaves"),
        (["--config", "nothing.toml"], "nothing.toml"),
        (["--resume", "nothing"], "nothing"),
    ],
)
def test_bad_flags_name_themselves(flags: list[str], says: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *flags]) == 2
    out = capfd.readouterr()
    assert says in out.err + out.out
    assert "Traceback" not in out.err + out.out


def test_bad_flags_are_said_once_on_two_ranks() -> None:
    done = run(mpirun(2, "hvd-train", "train", "--num-epochs", "0"), timeout_s=60, ok=False)
    assert done.output.count("num_epochs = 0") == 1, str(done)


def test_a_bare_resume_without_a_run_and_an_unknown_verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--resume"]) == 2
    assert main(["trian"]) == 2
    err = capfd.readouterr().err
    assert "no run with a checkpoint" in err
    assert "'trian'" in err


def test_a_run_directory_in_use_is_never_overwritten(finished: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = (finished / "run" / "report.json").read_bytes()
    assert main(["train", *TINY, "--run-dir", str(finished / "run")]) == 2
    assert f"--resume {finished / 'run'}" in capfd.readouterr().err
    assert (finished / "run" / "report.json").read_bytes() == before


@pytest.mark.slow
def test_three_runs_started_at_once_get_a_directory_each(tmp_path: Path) -> None:
    """As a loop or a job array does; without a launcher."""
    tiny = ["hvd-train", "train", *TINY, "--num-epochs", "1", "--cache-dir", str(tmp_path / "cache")]
    with contextlib.ExitStack() as stack:
        jobs = [
            stack.enter_context(started([*tiny, "--seed", str(seed)], cwd=tmp_path, timeout_s=180)) for seed in range(3)
        ]
        ended = [job.wait(180) for job in jobs]
    assert [done.code for done in ended] == [0, 0, 0], ended
    runs = sorted((tmp_path / "runs").iterdir())
    assert len(runs) == 3
    reports = [json.loads((folder / "report.json").read_text()) for folder in runs]
    assert sorted(report["seed"] for report in reports) == [0, 1, 2]
    for folder, report in zip(runs, reports, strict=True):
        assert f"seed = {report['seed']}\n" in (folder / "config.toml").read_text()
        assert (folder / "log.txt").read_text().count("Written to") == 1
        assert not (folder / ".lock").exists()


def test_config_toml_runs_again_to_the_same_numbers(finished: Path, tmp_path: Path) -> None:
    assert main(["train", "--config", str(finished / "run" / "config.toml"), "--run-dir", str(tmp_path / "again")]) == 0
    first, again = (json.loads((d / "report.json").read_text()) for d in (finished / "run", tmp_path / "again"))
    for split in ("val", "test"):
        assert again["metrics"][split] == pytest.approx(first["metrics"][split], rel=1e-6)
    assert again["config"] == first["config"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted_disk(tmp_path / "disk", "1m") as folder:
        yield folder


@pytest.mark.slow
def test_a_full_disk_is_one_message(small_disk: Path, finished: Path) -> None:
    done = run(
        mpirun(2, "hvd-train", "train", "--config", finished / "run" / "config.toml", "--filters", "256", "256", "--run-dir", small_disk / "run"),
        timeout_s=120,
        ok=False,
    )  # fmt: skip
    assert done.code == 2, str(done)
    assert done.output.count("error: ") == 1
    assert "No space left on device" in done.output
    assert "Traceback" not in done.output
    assert not list((small_disk / "run" / "checkpoints").glob(".*")), "a half-written checkpoint was left"


def test_missing_cells_and_constant_columns_are_handled_and_told_and_new_rows_are_read_alike(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = table(400)
    for index, row in enumerate(rows):
        row.append("always" if index == 0 else 7)
        if index in (5, 9):
            row[2] = "?"
    rows[7][0] = "?"
    path = write(tmp_path / "gaps.csv", rows)
    path.write_text(path.read_text().replace(",", ";"))
    run_dir = tmp_path / "run"
    flags = ["--recipe", "debug", "--data", str(path), "--run-dir", str(run_dir), "--cache-dir", str(tmp_path)]
    assert main(["train", *flags, "--missing", "?", "--delimiter", ";", "--missing-labels", "drop"]) == 0
    out = capfd.readouterr().out
    assert "rows without a label, left out: 1" in out
    assert "1 constant columns count for nothing" in out
    assert "missing cells of the train split are taken as their column's mean" in out
    assert "nan" not in (run_dir / "metrics.csv").read_text()
    # Neither has to be told again how such a table is read.
    assert main(["evaluate", str(run_dir), "--data", str(path), "--json"]) == 0
    assert '"rows_without_label": 1' in capfd.readouterr().out
    assert main(["predict", str(run_dir), "--data", str(path), "--out", str(tmp_path / "out.csv")]) == 0
    assert "400 rows predicted" in capfd.readouterr().out
    assert main(["evaluate", str(run_dir), "--data", str(path), "--missing", "NA"]) == 2
    assert "'?' stands where a number should be" in capfd.readouterr().err
    # A run of version 0.1 says nothing of it.
    note = json.loads((run_dir / "data.json").read_text())
    later = ("table_format", "model_sha256", "digest")
    (run_dir / "data.json").write_text(json.dumps({key: note[key] for key in note if key not in later}))
    flags = ["--missing", "?", "--delimiter", ";", "--missing-labels", "drop"]
    assert main(["evaluate", str(run_dir), "--data", str(path), *flags]) == 0
    assert "rows without a label, left out: 1" in capfd.readouterr().out


@pytest.mark.parametrize("package", ["horovod"])
def test_without_horovod_several_ranks_are_told_how_to_get_it_and_one_rank_trains(tmp_path: Path, package: str) -> None:
    broken = tmp_path / "broken" / package
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text(f"raise ImportError('No module named {package}')")
    env = {"PYTHONPATH": str(tmp_path / "broken")}
    done = run(mpirun(2, "hvd-train", "train", *TINY, "--run-dir", tmp_path / "pair"), timeout_s=60, env=env, ok=False)
    assert done.code == 3
    assert "make setup" in done.output
    assert "Traceback" not in done.output
    run(["hvd-train", "train", *TINY, "--run-dir", str(tmp_path / "alone")], timeout_s=60, env=env)


@pytest.mark.slow
def test_an_installed_package_has_all_its_files(tmp_path: Path) -> None:
    """`pip install .`: what is not Python code comes along, or the embedded songs would be missing."""
    from zipfile import ZipFile

    source = tmp_path / "source"  # a copy: setuptools leaves a build directory behind
    shutil.copytree(REPOSITORY / "hvd_train", source / "hvd_train")
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run([*pip, "-w", str(tmp_path), "."], timeout_s=120, cwd=source)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "hvd_train"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert set(tracked.stdout.split()) <= packed
    assert "entry_points.txt" in " ".join(packed)
