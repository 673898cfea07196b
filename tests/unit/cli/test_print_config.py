"""`hvd-train train --print-config`: the whole config, which --config reads back, and nothing else."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hvd_train.cli import verbs
from hvd_train.cli.train.print_config import described
from hvd_train.config import RunConfig, recipes, toml


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_is_read_back_and_every_key_is_there(name: str) -> None:
    config = recipes.recipe(name)
    text = described(config)
    assert toml.loads(text) == config
    for section in dataclasses.fields(config):
        assert f"[{section.name}]" in text
        for key in dataclasses.fields(getattr(config, section.name)):
            assert f"\n{key.name} = " in text or f"\n# {key.name}: chosen when the run begins" in text


def test_flags_a_file_and_a_recipe_are_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text("[training]\nnum_epochs = 7\nseed = 5\n")
    argv = [
        "train",
        "--recipe",
        "songs",
        "--config",
        "own.toml",
        "--seed",
        "6",
        "--data",
        "songs.csv",
        "--monitor",
        "mae",
    ]
    assert verbs.main([*argv, "--print-config"]) == 0
    expected = recipes.recipe("songs").replace(
        table={"path": Path("songs.csv")}, training={"num_epochs": 7, "seed": 6, "monitor": "val_mae"}
    )
    printed = capsys.readouterr()
    assert (toml.loads(printed.out), printed.err) == (expected, "")
    Path("whole.toml").write_text(printed.out)
    assert verbs.main(["train", "--config", "whole.toml", "--print_config"]) == 0
    assert capsys.readouterr().out == printed.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.toml", "whole.toml"]


def test_that_of_a_resumed_run_is_the_config_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    config = recipes.recipe("debug").replace(training={"num_epochs": 9, "global_batch_size": 64})
    Path("run/config.toml").write_text(toml.dumps(config))
    assert verbs.main(["train", "--resume", "run", "--num-epochs", "12", "--print-config"]) == 0
    assert toml.loads(capsys.readouterr().out) == config.replace(training={"num_epochs": 12})
    assert verbs.main(["train", "--run-dir", "new", "--resume", "auto", "--print-config"]) == 0
    assert toml.loads(capsys.readouterr().out) == RunConfig()
    assert not Path("new").exists()


def test_a_mistake_is_still_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.main(["train", "--num-epochs", "0", "--print-config"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "num_epochs = 0 is not possible" in printed.err


def test_the_root_alone_prints_and_neither_tensorflow_nor_mpi_is_loaded(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom hvd_train.cli.verbs import main\ncode = main(['train', '--print-config'])\n"
        "sys.exit(code or any(name in sys.modules for name in ('tensorflow', 'mpi4py', 'horovod')))"
    )
    for rank in range(2):
        ranks = {"OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": str(rank),
                 "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env=os.environ | ranks,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr, bool(done.stdout)) == (0, "", rank == 0)


@pytest.mark.parametrize("flag", ["--print-config", "--dry_run"])
def test_neither_a_job_nor_a_supervisor_takes_what_trains_nothing(
    flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert verbs.main(["supervise", "--", "train", flag]) == 2
    assert (
        f"{flag.replace('_', '-')} trains nothing, so it has no place in a job or under supervise"
        in capsys.readouterr().err
    )
    assert not any(tmp_path.iterdir())
