"""The pace of a run: something can happen to it in its middle on a machine of any speed, and it need not be long for that.

    pace = Pace(tmp_path, 0.5)  # each epoch takes this long at least
    with started(mpirun(2, "hvd-train", "train", *pace.flags)) as job:
        job.wait_for("epoch  1/3", timeout_s=100)
        job.signal(signal.SIGTERM)
        pace.set(0.0)  # the rest as fast as the machine can

A sleep in a rank would change what is tested. This is a metric of a user's own, so validations wait, and the weights stay the same.
"""

from __future__ import annotations

from pathlib import Path

METRIC = Path(__file__).with_name("pace_metric.py")


class Pace:
    """What slows runs down that are trained with its flags."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.file = folder / "pace"
        self.metric = folder / "pace_metric.py"
        # A run keeps a copy of the metric, and is resumed from anywhere: the file's place stands in it.
        text = METRIC.read_text().replace('FILE = Path("pace")', f"FILE = Path({str(self.file.resolve())!r})")
        if not self.metric.exists():  # where a run may be reading it
            self.metric.write_text(text)
        self.set(seconds)

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--metrics", f"{self.metric}:pace")

    def set(self, seconds: float) -> None:
        """How long each validation takes from now on."""
        new = self.file.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self.file)
