"""`--dry-run` and `--quiet` on two ranks: what a dry run tells comes true, and it leaves nothing behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from processes import horovodrun, run

FLAGS = ["--recipe", "debug", "--data", "t.csv", "--label", "kind", "--num-epochs", "2", "--local-batch-size", "16"]
TRAIN = ["hvd-train", "train", *FLAGS, "--run-dir", "runs/t"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dry")
    rows = np.random.default_rng(0).normal(size=(900, 12)).round(3)
    lines = [",".join(["kind", *(f"f{i}" for i in range(12))])]
    lines += [",".join([f"k{i % 3}", *map(str, row)]) for i, row in enumerate(rows)]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    for name in ("cache", "tmp"):
        (folder / name).mkdir()
    return folder


def environment(folder: Path) -> dict[str, str | None]:
    return {"XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder / "tmp"), "NO_COLOR": "1"}


def untagged(text: str) -> str:
    return re.sub(r"^\[\d+,\d+\]<std(out|err)>:", "", text, flags=re.MULTILINE)


def files(folder: Path) -> set[str]:
    """Everything but what Open MPI, horovodrun and matplotlib keep for themselves."""
    every = (path.relative_to(folder) for path in folder.rglob("*"))
    return {
        str(path)
        for path in every
        if (path.parts[0] != "tmp" or "hvd_train" in str(path)) and "matplotlib" not in path.parts
    }


@pytest.fixture(scope="module")
def dry(folder: Path) -> str:
    """What a dry run of two ranks prints; it leaves nothing behind."""
    before = files(folder)
    done = run(horovodrun(2, *TRAIN, "--dry-run"), cwd=folder, env=environment(folder), timeout_s=150)
    assert files(folder) == before
    return untagged(done.stdout)


@pytest.fixture(scope="module")
def quiet(folder: Path, dry: str) -> str:
    """What the run itself prints with --quiet."""
    done = run(horovodrun(2, *TRAIN, "--quiet"), cwd=folder, env=environment(folder), timeout_s=150)
    return untagged(done.stdout)


def test_what_it_tells_comes_true(dry: str, quiet: str, folder: Path) -> None:
    report = json.loads((folder / "runs/t/report.json").read_text())
    lines = {name: text for name, _, text in (re.split(r"(  +)", line, maxsplit=1) for line in dry.splitlines() if "  " in line)}  # fmt: skip
    for name in ("ranks", "data", "label", "model", "loss", "batch", "rate"):
        assert lines[name] == report["found"][name], name
    assert lines["features"] == "12 columns: f0, f1, f2, ..."
    assert lines["shards"].startswith("32 virtual shards, 16 on each rank, with ")
    assert lines["would train"].startswith("to epoch 2 of ")
    for name in ("config.toml", "log.txt", "metrics.csv", "report.json", "report.html", "model.keras", "data.json"):
        assert name in lines["would write"]
        assert (folder / "runs/t" / name).is_file()
    assert lines["would write"].startswith("runs/t/: ")
    assert lines["would write"].endswith("and the converted table in the cache")
    assert dry.rstrip().endswith("This was a dry run: no step was taken, and nothing was written.")
    assert not re.search(r"^epoch ", dry, re.MULTILINE)
    number, unit = re.search(r"about ([\d.]+) ([MG]iB) for rank \d, the largest", lines["memory"]).groups()  # type: ignore[union-attr]
    estimate = float(number) * {"MiB": 2**20, "GiB": 2**30}[unit]
    peak = max(rank["peak_memory_bytes"] for rank in report["ranks"])
    assert 0.6 * peak < estimate < 1.5 * peak, (estimate, peak)
    assert "WHICH IS TOO LITTLE" not in lines["memory"]


def test_quiet_prints_the_result_alone_and_the_log_has_everything(quiet: str, folder: Path) -> None:
    log = (folder / "runs/t/log.txt").read_text()
    for text in ("ranks  ", "epoch  1/2", "Test split, epoch", "The model is "):
        assert text in log
    assert "Test split, epoch" in quiet
    assert "The model is " in quiet
    assert "Written to runs/t" in quiet
    assert "By class" in log
    for text in ("ranks  ", "epoch  1/2", "samples/s", "By class"):
        assert text not in quiet
    assert "\x1b[3" not in quiet


@pytest.mark.slow
def test_the_table_that_a_run_converted_is_read_as_it_is(quiet: str, folder: Path) -> None:
    before = files(folder)
    other = ["hvd-train", "train", *FLAGS, "--run-dir", "runs/other", "--dry-run"]
    done = run(horovodrun(2, *other), cwd=folder, env=environment(folder), timeout_s=100)
    assert "converted" not in done.output
    assert "runs/other/: " in done.stdout
    assert files(folder) == before


@pytest.mark.slow
def test_a_dry_run_refuses_what_a_run_refuses(quiet: str, folder: Path) -> None:
    done = run(horovodrun(2, *TRAIN, "--dry-run"), cwd=folder, env=environment(folder), timeout_s=100, ok=False)
    assert done.code == 2
    assert done.output.count("runs/t holds a run already") == 1
