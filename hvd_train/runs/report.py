"""report.json, report.html, metrics.csv and the pictures: a run that explains itself. Only the root writes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hvd_train.config import Split
from hvd_train.errors import UserError
from hvd_train.files import strict, write_json, write_text
from hvd_train.runs.confusion import write_confusion
from hvd_train.runs.directory import RunDir
from hvd_train.runs.history_file import write_history
from hvd_train.runs.page import run_page
from hvd_train.runs.plots import errors_by_decade, learning_curve

WAY_OUT = "Start the run again in another directory."
EVALUATED_SPLITS: tuple[Split, ...] = ("val", "test")


@dataclass(frozen=True)
class Report:
    """Everything about a complete run. The same on every rank."""

    facts: dict[str, str]
    """Ranks, cores, versions, data, model, batch: one line each."""
    config: dict[str, Any]
    settings: dict[str, Any]
    metrics: dict[str, dict[str, float]]
    """By split ("val", "test"), then by name."""
    baselines: dict[str, dict[str, float]]
    optimum: dict[str, dict[str, float]]
    """What no model can beat on average, by split and name; only where the data's true posterior is known."""
    details: dict[str, dict[str, Any]]
    """By split: where the model errs, see `hvd_train.evaluation.breakdown`."""
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
    """Over all sessions of the run, like the next. What a session did after its last checkpoint is not in it."""
    wall_seconds: float
    """From the start to the end."""
    import_seconds: float
    """Of the root, for importing TensorFlow with Keras and, on several ranks, starting Horovod; of the last session."""
    first_steps_seconds: float | None
    """From then to the end of the first steps of that session; None where a resumed run had none left."""
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
    job: dict[str, Any] = field(default_factory=dict)
    """The batch job that ended the run: "scheduler", "id", and "restarts", its number of requeues. Empty outside of one."""
    starts: list[dict[str, Any]] = field(default_factory=list)
    """Each start of the ranks under `hvd-train supervise`, and how it ended; see `job_history.story`. Empty without."""
    notes: list[str] = field(default_factory=list)
    """What the run reported while it went on, such as a smaller learning rate, by the process that ended it."""
    ranks: list[dict[str, Any]] = field(default_factory=list)
    """Of each: "rank", "host", "peak_memory_bytes" (resident) and "cpu_seconds", of the process that ended the run."""
    steps: int = 0
    """Of all epochs."""
    gradient_bytes: int = 0
    """That each rank averages with the others in a step; 0 on one rank."""
    sessions: int = 1
    """Processes of the root that trained it, one after another: 1, and 1 for each resume."""

    def as_json(self) -> dict[str, Any]:
        """The content of report.json, where the facts have the key "found"."""
        return {"found" if name == "facts" else name: value for name, value in asdict(self).items()}


def write_report(report: Report, run_dir: RunDir) -> None:
    """Everything but the checkpoints and the model. Root only; DONE comes last."""
    write_history(report.history, run_dir.metrics)
    learning_curve(report, run_dir.curve)
    if "decades" in report.details["test"]:
        errors_by_decade(report.details["test"], run_dir.by_decade, title=report.facts["model"])
    write_confusion(report.details["test"], run_dir, title=report.facts["model"])
    write_json(run_dir.report, report.as_json())
    write_page(report, run_dir)
    write_text(run_dir.done, report.date + "\n")


def write_page(report: Report, run_dir: RunDir, *, out: Path | None = None) -> None:
    """report.html, or `out`. Root only."""
    write_text(out or run_dir.page, run_page(report, run_dir.path.resolve().name))


def read_document(run_dir: RunDir) -> dict[str, Any]:
    """The content of report.json; UserError where it cannot be read. Root only."""
    try:
        return dict(strict.loads(run_dir.report.read_bytes()))
    except OSError as error:
        raise UserError(f"{run_dir.report} cannot be read: {error.strerror or error}. {WAY_OUT}") from None
    except Exception as error:
        raise UserError(strict.damage(run_dir.report, error, WAY_OUT)) from None


def read_report(run_dir: RunDir) -> Report:
    """The report of a complete run, from its report.json; UserError where that is none. Root only."""
    document = read_document(run_dir)
    if "members" in document:
        raise UserError(
            f"{run_dir.path} is an ensemble, which has no learning curve to compare. Its own page has its members beside it: "
            f"hvd-train report {run_dir.path}"
        )
    try:
        document["facts"] = document.pop("found")
        # A number that was none is null in the file.
        rates = {"samples_per_s": float("nan")} if document.get("samples_per_s") is None else {}
        return Report(**{one.name: document[one.name] for one in fields(Report) if one.name in document} | rates)
    except Exception as error:
        raise UserError(strict.damage(run_dir.report, error, WAY_OUT)) from None
