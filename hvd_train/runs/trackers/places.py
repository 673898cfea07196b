"""RUN/trackers.json: where a run has been sent to, so that a resumed run goes on in the same place."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from hvd_train.files import write_json

FILE = "trackers.json"
_writing = threading.Lock()


def recall(run_dir: Path, tracker: str) -> dict[str, str]:
    """What `remember` kept for a tracker; empty where there is nothing, or nothing that can be read."""
    found = _read(run_dir).get(tracker)
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def remember(run_dir: Path, tracker: str, **place: str) -> None:
    """Keep the names that a tracker needs to find this run again. Each tracker writes from a thread of its own."""
    with _writing:
        write_json(run_dir / FILE, _read(run_dir) | {tracker: place})


def _read(run_dir: Path) -> dict[str, Any]:
    try:
        document = json.loads((run_dir / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
