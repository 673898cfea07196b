"""EvaluationConfig: what is reported of a model beside the built-in metrics."""

from __future__ import annotations

from dataclasses import dataclass

from hvd_train.config.reference import require_form
from hvd_train.config.section import Section


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Section):
    """How a model is judged. Nothing here changes how it is trained."""

    metrics: tuple[str, ...] = ()
    """Metrics of your own, besides the built-in ones. Each is a hvd_train.evaluation.Metric, as package.module:name or path/to/file.py:name."""

    def check(self) -> None:
        for reference in self.metrics:
            require_form(reference, key="metrics")
