"""What a page needs of a model that was evaluated, be it of one run or the average of several."""

from __future__ import annotations

from typing import Any, Protocol


class Evaluated(Protocol):
    """See `hvd_train.runs.Report`, which has these and more."""

    @property
    def metrics(self) -> dict[str, dict[str, float]]: ...

    @property
    def baselines(self) -> dict[str, dict[str, float]]: ...

    @property
    def optimum(self) -> dict[str, dict[str, float]]: ...

    @property
    def details(self) -> dict[str, dict[str, Any]]: ...

    @property
    def rows(self) -> dict[str, int]: ...

    @property
    def data_checksum(self) -> str: ...
