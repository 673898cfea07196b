"""What benchmarks/gpu.sh checks and sums up: Horovod's kernels on a device, and the table of its rates.

mpirun -np 1 python benchmarks/gpu_checks.py kernels --device gpu --out kernels.json
python benchmarks/gpu_checks.py summary --out OUT          reads what the steps left in OUT, writes summary.json and prints it
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hvd_train.gpus import read_inventory

# Dense TFLOP/s without sparsity, by NVIDIA's data sheets: float32 by ordinary cores, TF32 by tensor cores, bfloat16.
PEAKS = {
    "H200": (67.0, 494.7, 989.4),
    "H100": (67.0, 494.7, 989.4),
    "A100": (19.5, 156.0, 312.0),
    "L40S": (91.6, 183.0, 366.0),
    "L4": (30.3, 60.0, 121.0),
}
DTYPES = ("uint8", "int8", "int32", "int64", "float16", "float32", "float64")
# Around the words of 16 bytes that the kernels copy, and one that needs many blocks.
LENGTHS = (1, 3, 7, 16, 17, 1023, 100_003)
# Losses of the debug recipe on two kinds of processors differ by rounding alone.
LOSS_TOLERANCE = 0.02


def check_kernels(device: str) -> dict[str, Any]:
    """Sums of one rank, scaled before and after: what comes back is known. Every type, many lengths, in groups and alone."""
    import horovod.tensorflow as hvd
    import numpy as np
    import tensorflow as tf

    hvd.init()
    if device == "gpu":
        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            sys.exit("error: TensorFlow found no GPU. hvd-train doctor tells why.")
        tf.config.set_visible_devices(gpus[hvd.local_rank() % len(gpus)], "GPU")
    rng, wrong, done = np.random.default_rng(0), [], 0
    with tf.device("/GPU:0" if device == "gpu" else "/CPU:0"):
        for dtype in DTYPES:
            given = [rng.integers(0, 50, length).astype(dtype) * 2 for length in LENGTHS]
            for scale in (1.0, 0.5):
                tensors = [tf.constant(x) for x in given]
                name = f"{dtype}.{scale}"
                grouped = hvd.grouped_allreduce(tensors, op=hvd.Sum, prescale_factor=scale, name=f"group.{name}")
                alone = [
                    hvd.allreduce(x, op=hvd.Sum, postscale_factor=scale, name=f"alone.{name}.{i}")
                    for i, x in enumerate(tensors)
                ]
                for kind, results in (("grouped", grouped), ("alone", alone)):
                    for x, result in zip(given, results, strict=True):
                        done += 1
                        expected = (x.astype("float64") * scale * hvd.size()).astype(dtype)
                        if not np.array_equal(result.numpy(), expected):
                            wrong.append(f"{kind} {dtype} x {scale}, {len(x)} elements on {result.device}")
    return {"device": device, "nccl": int(hvd.nccl_built()), "checks": done, "wrong": wrong}


def peak_of(name: str) -> tuple[float, float, float] | None:
    """The peaks of a card by its name, None for one that is not in the table."""
    return next((peak for part, peak in PEAKS.items() if part in name.replace("-", " ").split()), None)


def multiplications(layer: Any) -> int:
    """Of one row in one layer, forwards: those of its kernel. What adds or multiplies element by element does not count."""
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0
    shape = [int(n) for n in kernel.shape]
    if equation := getattr(layer, "equation", None):
        # Every index that occurs runs over its whole length, but the one of the rows.
        inputs, output = equation.split("->")
        of_input, of_kernel = inputs.split(",")
        lengths = dict(zip(of_kernel, shape, strict=True))
        lengths |= {letter: n for letter, n in zip(of_input, layer.input.shape, strict=False) if n is not None}
        return math.prod(lengths[letter] for letter in set(of_input + of_kernel + output) if letter in lengths)
    places = [int(n) for n in layer.output.shape[1:-1]]  # of a convolution; a dense layer has one
    return math.prod(shape) * math.prod(places)


def layers_of(model: Any) -> Iterator[Any]:
    """All layers, those of models in the model too."""
    for layer in model.layers:
        yield from layers_of(layer) if hasattr(layer, "layers") else [layer]


def flops_per_sample(name: str) -> float:
    """Of one row in one step of a recipe: two for a multiplication and its addition, and backwards twice as many again."""
    from hvd_train.config import recipe
    from hvd_train.distributed import open_world
    from hvd_train.events import Observer, Watch
    from hvd_train.training.setup import set_up

    with open_world() as world:
        config = recipe(name).replace(training={"global_batch_size": 256, "local_batch_size": None})
        experiment = set_up(config, world, Observer(), Watch())
        return 6.0 * sum(map(multiplications, layers_of(experiment.model)))


def recipe_of(folder: str) -> str:
    """The recipe in the name of a step of gpu.sh.

    >>> recipe_of("rates-synthetic-songs-256"), recipe_of("rates-with-horovod")
    ('synthetic-songs', 'reference')
    """
    return "reference" if folder == "rates-with-horovod" else folder.removeprefix("rates-").rpartition("-")[0]


def rates_of(out: Path, flops: dict[str, float], peak: tuple[float, float, float] | None) -> list[dict[str, Any]]:
    """One row for each measurement: samples/s, TFLOP/s, and the share of the card's float32 peak."""
    rows = []
    for file in sorted(out.glob("rates-*/bench.json")):
        answer = json.loads(file.read_text())
        (found,) = answer["throughput"]
        name = file.parent.name.removeprefix("rates-")
        tflops = found["samples_per_s"] * flops[recipe_of(file.parent.name)] / 1e12
        share = tflops / peak[0] if peak else None
        kept = {
            key: found[key] for key in ("samples_per_s", "local_batch_size", "step_ms_median", "precision", "shares")
        }
        rows.append({"name": name, **kept, "tflops": tflops, "share_of_peak": share})
    return rows


def losses_of(out: Path) -> dict[str, float]:
    """The test loss of each run in `out`."""
    files = {name: out / name / "report.json" for name in ("on-device", "on-cpu", "two-ranks")}
    return {
        name: float(json.loads(file.read_text())["metrics"]["test"]["loss"])
        for name, file in files.items()
        if file.is_file()
    }


def summarize(out: Path) -> dict[str, Any]:
    """All steps, rates and comparisons that lie in `out`."""
    steps = [line.split("\t") for line in (out / "steps.tsv").read_text().splitlines()[1:]]
    inventory = read_inventory()
    card = inventory.gpus[0].name if inventory.gpus else ""
    recipes = {recipe_of(path.parent.name) for path in out.glob("rates-*/bench.json")}
    flops = {name: flops_per_sample(name) for name in sorted(recipes)}
    losses = losses_of(out)
    peer = out / "peer.log"
    lines = [line for line in peer.read_text().splitlines() if line.startswith("{")] if peer.is_file() else []
    return {
        "card": card,
        "driver": inventory.driver,
        "steps": [{"name": name, "seconds": int(seconds), "code": code} for name, seconds, code in steps],
        "flops_per_sample": flops,
        "rates": rates_of(out, flops, peak_of(card)),
        "pytorch_ddp_samples_per_s": [json.loads(line)["samples_per_s"] for line in lines],
        "losses": losses,
        "wrong_losses": [n for n, v in losses.items() if abs(v - losses.get("on-cpu", v)) > LOSS_TOLERANCE * abs(v)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["kernels", "summary"])
    parser.add_argument("--device", choices=["gpu", "cpu"], default="gpu")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.action == "kernels":
        result = check_kernels(given.device)
        given.out.write_text(json.dumps(result, indent=1))
        if result["wrong"]:
            sys.exit("error: wrong results:\n" + "\n".join(result["wrong"]))
        return
    result = summarize(given.out)
    text = json.dumps(result, indent=1)
    (given.out / "summary.json").write_text(text)
    print(text)
    if result["wrong_losses"]:
        sys.exit(f"error: the losses differ by more than {LOSS_TOLERANCE:.0%}: {result['losses']}")


if __name__ == "__main__":
    main()
