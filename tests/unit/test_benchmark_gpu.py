"""benchmarks/gpu.sh and its program, without a GPU, TensorFlow or a network: steps, limits, and what is summed up."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu_checks")


def script(*arguments: str, ok: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    done = subprocess.run(
        [BENCHMARKS / "gpu.sh", *arguments], env=kept | environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == ok, done.stderr
    return done


def test_the_steps_and_their_limits(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    lines = script(str(wheels), str(tmp_path / "out"), DRY_RUN="1", TORCH_PYTHON="false").stdout.splitlines()
    names = [line.split(" (at most ")[0] for line in lines]
    rates = [
        f"rates-{recipe}-{batch}"
        for recipe in ("reference", "synthetic-songs", "table")
        for batch in (256, 2048, 16384)
    ]
    assert names == ["install", "doctor", "kernels", "two-ranks", "on-device", "on-cpu", *rates, "rates-with-horovod"]
    assert all("pip install" not in line and "http" not in line for line in lines)
    # With the active environment nothing is installed.
    lines = script("-", str(tmp_path / "out"), DRY_RUN="1", TORCH_PYTHON="false", DEVICE="cpu").stdout.splitlines()
    assert lines[0].startswith("doctor ")
    assert any("--device cpu" in line for line in lines)


def test_a_step_that_fails_does_not_end_the_others_and_what_does_not_fit_is_told(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "hvd-train").write_text('#!/bin/sh\necho "it said $1"\n[ "$1" = train ]\n')
    (programs / "mpirun").write_text("#!/bin/sh\nexit 0\n")
    (programs / "python").write_text("#!/bin/sh\nexit 0\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    done = script("-", str(tmp_path / "out"), ok=1, PATH=path, STEPS="doctor kernels same-loss")
    assert "doctor: FAILED with 1" in done.stderr
    assert "it said doctor" in done.stderr
    rows = [line.split("\t") for line in (tmp_path / "out" / "steps.tsv").read_text().splitlines()[1:]]
    assert [(row[0], row[2]) for row in rows] == [
        ("doctor", "1"),
        ("kernels", "0"),
        ("on-device", "0"),
        ("on-cpu", "0"),
    ]
    # bash counts seconds of the clock: a start during which one begins has a second less.
    starts = (script("-", str(tmp_path / "out"), PATH=path, STEPS="doctor", LIMIT_S="55").stderr for _ in range(10))
    assert any("doctor: skipped, 5 s of 55 s are left for steps" in text for text in starts)


def test_what_it_takes_from_the_repository_is_there() -> None:
    text, root = (BENCHMARKS / "gpu.sh").read_text(), BENCHMARKS.parent
    locks = set(re.findall(r"-r (\S+\.txt)", text))
    assert {"requirements/gpu.txt", "hvd_train/horovod_build/locks/build.txt"} <= locks
    assert all((root / lock).is_file() for lock in locks)
    modules = re.findall(r"-m (hvd_train\S+)", text)
    assert modules
    assert all((root / module.replace(".", "/") / "__main__.py").is_file() for module in modules)


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        ([], {}, "usage: benchmarks/gpu.sh WHEELS OUT"),
        (["/no/such/wheels", "out"], {}, "there is no folder /no/such/wheels of wheels"),
        (["-", "out"], {"DEVICE": "tpu"}, "DEVICE=tpu: it is gpu or cpu"),
    ],
)
def test_wrong_arguments_are_told(arguments: list[str], environment: dict[str, str], told: str) -> None:
    assert told in script(*arguments, ok=2, **environment).stderr


def layer(kernel: tuple[int, ...] | None = None, **more: Any) -> SimpleNamespace:
    given = {} if kernel is None else {"kernel": SimpleNamespace(shape=kernel)}
    return SimpleNamespace(**given, **{name: SimpleNamespace(shape=value) if name in ("input", "output") else value for name, value in more.items()})  # fmt: skip


def test_the_arithmetic_of_a_layer_is_that_of_its_kernel(checks: ModuleType) -> None:
    assert checks.multiplications(layer((2880, 128), output=(None, 128))) == 2880 * 128
    assert checks.multiplications(layer((3, 32, 32), output=(None, 90, 32))) == 90 * 3 * 32 * 32
    einsum = layer((16, 24), equation="bki,io->bko", input=(None, 8, 16), output=(None, 8, 24))
    assert checks.multiplications(einsum) == 8 * 16 * 24
    assert checks.multiplications(layer()) == 0
    inner = SimpleNamespace(layers=[layer(), layer((4, 5), output=(None, 5))])
    assert len(list(checks.layers_of(SimpleNamespace(layers=[inner, layer()])))) == 3


def test_the_card_is_found_by_its_name(checks: ModuleType) -> None:
    assert checks.peak_of("NVIDIA H200") == checks.PEAKS["H200"]
    assert checks.peak_of("NVIDIA A100-SXM4-80GB") == checks.PEAKS["A100"]
    assert checks.peak_of("NVIDIA GeForce GT 710") is None


def test_what_the_steps_left_is_summed_up(checks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "samples_per_s": 1e6,
        "local_batch_size": 256,
        "step_ms_median": 0.256,
        "precision": "float32",
        "shares": {},
    }
    for name in ("rates-synthetic-songs-256", "rates-with-horovod"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bench.json").write_text(json.dumps({"throughput": [found]}))
    for name, loss in (("on-cpu", 3.0), ("on-device", 3.01), ("two-ranks", 3.5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps({"metrics": {"test": {"loss": loss}}}))
    (tmp_path / "steps.tsv").write_text("step\tseconds\tcode\ndoctor\t3\t0\n")
    (tmp_path / "peer.log").write_text('a warning\n{"rank": 0, "samples_per_s": 5.0}\n')
    monkeypatch.setattr(checks, "flops_per_sample", lambda name: {"synthetic-songs": 2e6, "reference": 4e6}[name])
    monkeypatch.setattr(checks, "peak_of", lambda name: (8.0, 16.0, 32.0))
    summary = checks.summarize(tmp_path)
    assert summary["steps"] == [{"name": "doctor", "seconds": 3, "code": "0"}]
    songs, with_horovod = summary["rates"]
    assert (songs["name"], songs["tflops"], songs["share_of_peak"]) == ("synthetic-songs-256", 2.0, 0.25)
    assert (with_horovod["name"], with_horovod["tflops"]) == ("with-horovod", 4.0)
    assert summary["pytorch_ddp_samples_per_s"] == [5.0]
    assert summary["wrong_losses"] == ["two-ranks"]
