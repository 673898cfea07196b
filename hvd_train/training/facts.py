"""The facts of a run, one line each, for the terminal, the log and the report. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hvd_train.config import SPLITS
from hvd_train.data import Dataset, series_in_words
from hvd_train.distributed import Placement, Settings, World
from hvd_train.gpus import has_driver
from hvd_train.optimizers import scaled_learning_rate
from hvd_train.runs import versions
from hvd_train.schedulers import unused_hosts
from hvd_train.training.experiment import Experiment


def describe_run(experiment: Experiment, world: World, placements: list[Placement]) -> dict[str, str]:
    """All facts by name, in the order in which they are shown. `placements` are those of all ranks. Pure."""
    hosts = Counter(placement.host for placement in placements)
    config, soft = experiment.config, experiment.config.objective.targets
    targets = f", {soft} targets" if soft != "one-hot" else ""
    columns = columns_line(experiment.dataset, has_indicators=config.model.missing_values == "indicator")
    return {
        "ranks": ranks_line(world.size, hosts, world.engine),
        "cores": cores_line(world.settings),
        **({"gpus": line} if (line := gpus_line(world)) else {}),
        **({"gradients": world.carrier.text} if world.size > 1 and world.carrier else {}),
        "settings": world.settings.describe(),
        "versions": versions_line(world.engine),
        "data": data_line(experiment),
        "label": label_line(experiment.dataset),
        "model": f"{config.model.name}, {experiment.model.count_params():,} weights, {input_line(experiment)}, {config.training.precision}",
        "loss": experiment.targets.loss + targets,
        "batch": batch_line(experiment),
        **({"local steps": local_line(experiment)} if experiment.workers else {}),
        "rate": rate_line(experiment),
        **({"monitor": monitor_line(experiment)} if config.training.monitor != "val_loss" else {}),
        **({"columns": columns} if columns else {}),
    }


def idle_hosts_line(environment: Mapping[str, str], placements: Sequence[Placement]) -> str:
    """That the batch job has hosts without a rank; empty where it has none."""
    idle = unused_hosts(environment, {placement.host for placement in placements})
    if not idle:
        return ""
    return (
        f"no rank runs on {', '.join(idle)}, which {'belongs' if len(idle) == 1 else 'belong'} to this batch job. "
        "To use all its hosts: hvd-train supervise -- train ..., or mpirun with the hostfile that `hvd-train hostfile job` prints"
    )


def gpus_line(world: World) -> str:
    """The GPU of the root, or that there is none where TensorFlow could use one; empty where it could not."""
    if world.gpu:
        return f"{world.gpu.rpartition('/')[2]} for the root, one for each local rank as far as they reach"
    if not world.for_gpus:
        return ""
    why = "TensorFlow found none that it can use: hvd-train doctor" if has_driver() else "NVIDIA's driver is not loaded"
    return f"none, so this environment for GPUs trains on CPUs ({why})"


def cores_line(settings: Settings) -> str:
    """How much of the machine each rank has, and whether that is less than it needs."""
    threads = "TensorFlow's own choice of threads" if settings.num_threads is None else f"{settings.num_threads} a rank"
    over = " (oversubscribed: more ranks than cores)" if settings.oversubscribed else ""
    quota = f", of {settings.quota:g} that the cgroup allows" if settings.quota is not None else ""
    return threads + over + quota


def ranks_line(size: int, hosts: Mapping[str, int], engine: str) -> str:
    """How many ranks run on each host, and what joins them where that is not Horovod.

    >>> ranks_line(3, {"lab1": 2, "lab2": 1}, "tensorflow")
    '3 on lab1 (2), lab2 (1), joined by TensorFlow'
    """
    joined = ", joined by TensorFlow" if engine == "tensorflow" else ""
    return f"{size} on {', '.join(f'{host} ({n})' for host, n in hosts.items())}{joined}"


def versions_line(engine: str) -> str:
    """The versions of the packages that decide the numbers of a run with this engine."""
    v = versions()
    tensorflow = v.get("tensorflow-cpu") or v.get("tensorflow", "?")
    horovod = f"Horovod {v['horovod']}, " if engine == "horovod" and "horovod" in v else ""
    return f"{horovod}TensorFlow {tensorflow}, Keras {v.get('keras', '?')}, Python {v['python']}, hvd_train {v['hvd_train']}"


def data_line(experiment: Experiment) -> str:
    """Where the data come from, and the number of rows in each split."""
    rows = ", ".join(f"{experiment.dataset.num_rows(split):,} {split}" for split in SPLITS)
    return f"{experiment.config.table.path or 'embedded synthetic songs'}: {rows}"


def label_line(dataset: Dataset) -> str:
    """The label column, its kind, and the number of outputs."""
    schema = dataset.schema
    outputs = f", {schema.num_outputs} outputs" if schema.label_values else ""
    return f"{schema.label_name} ({schema.label_kind}{outputs})"


def input_line(experiment: Experiment) -> str:
    """The shape in which the network reads the columns, and their transforms."""
    model, layout = experiment.config.model, experiment.dataset.schema.layout
    piecewise = f"{layout[0] * layout[1] + model.whiten} x {model.piecewise_channels}"
    shape = {"covariance": "12 x 13", "projection": model.projection.replace("x", " x "), "piecewise": piecewise}
    arranged = "" if model.arrangement == "columns" else f" by {model.arrangement}"
    transform = "" if model.transform == "standard" else f", {model.transform}"
    transform += ", whitened" if model.whiten else ""
    return f"input {shape.get(model.arrangement, f'{layout[0]} x {layout[1]}')}{arranged}{transform}"


def batch_line(experiment: Experiment) -> str:
    """The global and local batch sizes and the steps of an epoch."""
    batch_sizes = experiment.batch_sizes
    line = f"{batch_sizes.global_batch_size} rows a step ({batch_sizes.local_batch_size} on each rank), {experiment.plan.num_steps} steps an epoch"
    if batch_sizes.follows_size:
        line += "; the local batch was given, so the number of ranks changes the experiment"
    return line


def local_line(experiment: Experiment) -> str:
    """How often the virtual workers are averaged, and whose they are."""
    assert experiment.workers is not None
    plan = experiment.workers.plan
    rows = experiment.batch_sizes.global_batch_size // plan.num_workers
    return (
        f"{plan.local_steps} between two averages, by {plan.num_workers} virtual workers ({len(plan.own)} on each rank) "
        f"of {rows} rows a step; moments averaged after each epoch"
    )


def rate_line(experiment: Experiment) -> str:
    """The learning rate after its warm-up, and the optimizer."""
    config = experiment.config.optimizer
    scaled = scaled_learning_rate(config, experiment.batch_sizes.global_batch_size)
    return f"{scaled:.3g} after {config.warmup_epochs:g} epochs of warm-up ({config.optimizer})"


def monitor_line(experiment: Experiment) -> str:
    """What chooses the best epoch, where that is not the validation loss."""
    best = "highest" if experiment.monitor.higher_is_better else "lowest"
    return f"{experiment.config.training.monitor}; the epoch in which it is {best} is kept"


def columns_line(dataset: Dataset, *, has_indicators: bool) -> str:
    """What is unusual about the columns; empty where nothing is. Of series the lengths."""
    if dataset.series is not None:
        return series_in_words(dataset.series)
    statistics, unusual = dataset.statistics, []
    if statistics.constant.any():
        unusual.append(f"{int(statistics.constant.sum())} constant columns count for nothing")
    if statistics.num_missing.any():
        cells = int(statistics.num_missing.sum())
        line = f"{cells:,} missing cells of the train split are taken as their column's mean"
        if has_indicators and (count := len(statistics.often_missing(dataset.num_rows("train")))):
            line += f", and {count} columns of 0 and 1 tell where a cell is missing"
        unusual.append(line)
    return "; ".join(unusual)
