"""The flags of each verb, as typed dataclasses; the docstring below a field is its help."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hvd_train.cli.table_flags import TableFlags
from hvd_train.cli.watchdog_flags import WatchdogFlags
from hvd_train.config import RunConfig, recipes, toml
from hvd_train.tune import DIMENSIONS, Dimension

RecipeName = Annotated[
    str,
    tyro.conf.arg(
        help="A named RunConfig to start from. "
        + " ".join(f"{name}: {what}." for name, (what, _) in recipes.RECIPES.items())
    ),
]


@dataclass(frozen=True, kw_only=True)
class RecipeArguments:
    """Where a RunConfig starts from, and every flag that changes it."""

    recipe: RecipeName = "default"
    config: Path | None = None
    """A TOML file whose values replace those of the recipe, such as the config.toml of a run."""
    # Without its name, the title of a section's flags is that of the section alone.
    run: Annotated[tyro.conf.OmitArgPrefixes[RunConfig], tyro.conf.arg(name="")] = field(default_factory=RunConfig)

    def base(self) -> RunConfig:
        """The RunConfig of --recipe and --config, or ConfigError: the other flags' defaults."""
        base = recipes.recipe(self.recipe)
        return toml.load(self.config, base=base) if self.config else base


@dataclass(frozen=True, kw_only=True)
class TrainArguments(RecipeArguments):
    """Train on this process, or on all ranks that horovodrun, mpirun or srun started.

    Examples:

        hvd-train train

        horovodrun -np 2 hvd-train train --data songs.csv

        hvd-train train --resume runs/default-20260101-120000

        hvd-train train --run-dir runs/songs --resume auto

        horovodrun -np 2 hvd-train train --data songs.csv --dry-run

        hvd-train train --recipe songs --num-epochs 20 --print-config > songs.toml
    """

    run_dir: Path | None = None
    """Directory to write to. By default runs/<recipe>-<time>. {job} in it stands for the id of the batch job."""
    resume: Path | None = None
    """Resume this run from its last checkpoint, at any number of ranks. Without a value it is the newest run in runs/. With auto the run in --run-dir begins, or goes on where it was. One that is complete stays as it is."""
    stop_after: str | None = None
    """Save and end so long after the start, as H:MM or H:MM:SS, with exit code 85. Go on later with --resume."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Check everything and take no step: print the rows, features, batch sizes, shards and memory of the run, and what it would write. Nothing stays on disk."""
    print_config: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the settings that the flags, --recipe, --config and --resume make, as TOML that --config reads. No rank is started and no data is read."""
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print errors and the result alone. log.txt of the run has everything."""


@dataclass(frozen=True, kw_only=True)
class EnsembleArguments(RecipeArguments):
    """Train several models that differ only in their seed, or join finished runs, and average their predictions.

    All ranks train one member after the other, in RUN_DIR/members. To go on after an interruption, give the same
    arguments again: finished members are kept, the interrupted one resumes from its checkpoint. The result is one
    model.keras that averages the probabilities, or the values for losses that predict values.

    Examples:

        horovodrun -np 2 hvd-train ensemble --members 5 --recipe leaves --data leaf.csv --run-dir runs/leaves-5

        hvd-train ensemble --runs runs/a runs/b runs/c --run-dir runs/abc
    """

    run_dir: Path
    """Directory to write to: a new one, or that of an interrupted ensemble."""
    members: int = 5
    """Number of models to train. Their seeds are --seed, --seed + 1, ..."""
    runs: tuple[Path, ...] = ()
    """Finished runs on the same data to join, instead of training."""
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print errors and the result alone. log.txt of each member has everything."""


@dataclass(frozen=True, kw_only=True)
class SearchArguments(RecipeArguments):
    """Search hyper-parameters: draw settings by Optuna, and train each of them on all ranks.

    A trial is a run in OUT/trials. One that is worse than the median of the others ends early. OUT/best.toml has the best settings
    so far, OUT/trials.csv all of them, OUT/search.png is a picture. Several jobs may search in one OUT, each on its ranks, with --resume.

    Examples:

        horovodrun -np 2 hvd-train search --recipe table --data houses.csv --label price --out runs/houses

        horovodrun -np 4 hvd-train search --recipe table --data houses.csv --label price --out runs/houses --resume --trials 100

        horovodrun -np 2 hvd-train train --config runs/houses/best.toml
    """

    out: Path
    """Directory of the search. {job} in it stands for the id of the batch job."""
    trials: int = 30
    """Number of trials, over all jobs that search in OUT and however often they were interrupted."""
    space: Path | None = None
    """A TOML file with what is searched: [SECTION.FIELD] with low, high and log = true, or with choices = [...]. By default a space for the network of the recipe."""
    stop_after: str | None = None
    """No trial begins later than so long after the start, as H:MM or H:MM:SS."""
    prune: bool = True
    """End a trial early that is worse than the median of the others after as many epochs."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on with the search in OUT, or begin it where there is none. What an interrupted job was training is resumed from its checkpoint."""
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the trials and the result alone. log.txt of each trial has everything."""


@dataclass(frozen=True, kw_only=True)
class EvaluateArguments:
    """Score the best model of a run on a table or a split, and compare it with trivial baselines.

    Example:

        hvd-train evaluate runs/default-20260101-120000 --data songs.csv
    """

    run_dir: Annotated[Path, tyro.conf.Positional]
    """A finished run's directory."""
    data: Path | None = None
    """A table with the same columns, or a dataset directory. By default the data of the run."""
    split: Literal["train", "val", "test"] = "test"
    """Which split to score, of a dataset directory or of the data of the run. A table is scored whole."""
    metrics: tuple[str, ...] | None = None
    """Metrics of your own, as for `hvd-train train --metrics`. By default those of the run. Without a value: none."""
    table: tyro.conf.OmitArgPrefixes[TableFlags] = field(default_factory=TableFlags)
    watchdog: tyro.conf.OmitArgPrefixes[WatchdogFlags] = field(default_factory=WatchdogFlags)
    json: bool = False
    """Print JSON instead of a table."""
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print errors and the result alone: no progress and no notes."""


@dataclass(frozen=True, kw_only=True)
class PredictArguments:
    """Predict every row of a table, in its order.

    For years and integers a line holds the expected label, the most likely one, its probability, and the ends of the
    90 % interval. For classes it holds the most likely one and its probability, for real values the prediction.

    Examples:

        hvd-train predict runs/default-20260101-120000 --data songs.csv --out predictions.csv

        zcat songs.csv.gz | hvd-train predict runs/default-20260101-120000 --data - --out - | head
    """

    run_dir: Annotated[Path, tyro.conf.Positional]
    """A finished run's directory."""
    data: Path
    """A table with the feature columns of the run. It needs no label column. - is the standard input."""
    out: Path
    """The file to write, with one line for each row of the table. Parquet where the name ends with .parquet, else CSV. - is the standard output."""
    quote_formulas: bool = False
    """Write an apostrophe before class names that begin with = + - or @. A spreadsheet would run them as formulas."""
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print errors and the result alone: no progress and no notes."""
    table: tyro.conf.OmitArgPrefixes[TableFlags] = field(default_factory=TableFlags)
    watchdog: tyro.conf.OmitArgPrefixes[WatchdogFlags] = field(default_factory=WatchdogFlags)


@dataclass(frozen=True, kw_only=True)
class BenchArguments(RecipeArguments):
    """Measure how fast a recipe trains here and where the time goes. It starts its own ranks. Nothing else should run.

    Examples:

        hvd-train bench

        hvd-train bench --np 2 --measure throughput --recipe leaves --data leaf.csv

        hvd-train bench --np 1 2 4 --measure scaling --local-batch-size 64

        hvd-train bench --hosts --hostfile hosts
    """

    measure: tuple[Literal["throughput", "efficiency", "scaling", "allreduce"], ...] = (
        "throughput",
        "efficiency",
        "scaling",
        "allreduce",
    )
    """throughput: rates, step times, shares and start-up. efficiency: against as many independent processes. scaling: over --np. allreduce: by message size."""
    np: tuple[int, ...] = ()
    """Numbers of ranks. By default 1, 2, 4 ... up to the cores of this machine."""
    seconds: float = 2.0
    """Seconds of each measurement."""
    repeats: int = 5
    """Number of measurements of each kind. Different kinds are interleaved."""
    out: Path = Path("bench")
    """Directory for bench.json and the pictures."""
    hostfile: Path | None = None
    """The hosts, for mpirun. By default this one. Independent processes run on this one alone."""
    hosts: bool = False
    """Measure latency and bandwidth between the hosts of the hostfile, and a step there, instead of --measure. Predict the efficiency on 2 to 1,024 hosts at other link rates."""


@dataclass(frozen=True, kw_only=True)
class TuneArguments(RecipeArguments):
    """Search the best distributed settings for a recipe here. It starts its own ranks. Nothing else should run.

    Examples:

        hvd-train tune --recipe leaves --data leaf.csv

        hvd-train tune --np 1 2 --search np batch compression --seconds 5
    """

    np: tuple[int, ...] = ()
    """Numbers of ranks to try. The search starts with the largest. By default 1, 2, 4 ... up to the cores of this machine."""
    search: tuple[Dimension, ...] = DIMENSIONS
    """Settings to search."""
    seconds: float = 10.0
    """Seconds of training in a trial of the first rung. Each further rung doubles them."""
    rungs: int = 3
    """Number of rungs. After each, the better half goes on."""
    out: Path = Path("tuned")
    """Directory for tuned.toml, tune.json and the picture."""
    hostfile: Path | None = None
    """The hosts, for mpirun. By default this one."""


@dataclass(frozen=True, kw_only=True)
class DoctorArguments:
    """Check Python, TensorFlow, Horovod, MPI, cores, memory and network. Report what is wrong and how to mend it."""

    trial: bool = True
    """Also start two ranks under mpirun."""


@dataclass(frozen=True, kw_only=True)
class HostfileCheckArguments:
    """Read a hostfile, list its hosts, and report which launcher takes it as it is."""

    hostfile: Annotated[Path, tyro.conf.Positional]
    """The file."""


@dataclass(frozen=True, kw_only=True)
class HostfileConvertArguments:
    """Print a hostfile in the form that one launcher takes.

    Example:

        hvd-train hostfile convert --for horovodrun hostfiles/lab > lab.horovodrun
    """

    hostfile: Annotated[Path, tyro.conf.Positional]
    """The file."""
    for_: Annotated[Literal["horovodrun", "mpirun"], tyro.conf.arg(name="for")]
    """The launcher to write it for."""


@dataclass(frozen=True, kw_only=True)
class HostfileJobArguments:
    """Print the hosts of the batch job that this runs in as a hostfile. Slurm, PBS, Grid Engine and LSF.

    Example:

        hvd-train hostfile job > hosts
    """

    for_: Annotated[Literal["horovodrun", "mpirun"], tyro.conf.arg(name="for")] = "mpirun"
    """The launcher to write it for."""
