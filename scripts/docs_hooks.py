"""What `mkdocs build` (mkdocs.yml) fills into the pages of docs/: the help of every verb, as the program prints it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

VERBS = (
    *("train", "ensemble", "evaluate", "predict", "data fetch", "data convert", "data check", "data describe"),
    *("supervise", "submit", "jobs list", "jobs status", "jobs logs", "jobs cancel", "jobs resume"),
    *("search", "bench", "tune", "doctor", "hostfile check", "hostfile convert"),
)
# What a page shows without scrolling.
COLUMNS = "82"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page's text, with the help of the verbs between `<!-- help -->` and `<!-- end -->`."""
    return re.sub(r"<!-- help -->\n.*?<!-- end -->", lambda _: every_help(), markdown, flags=re.DOTALL)


def every_help() -> str:
    return "\n\n".join(f"### hvd-train {verb}\n\n```text\n{help_of(verb)}\n```" for verb in VERBS)


def help_of(verb: str) -> str:
    """All flags of a verb: those of --help-all where it has one. RuntimeError where it fails."""
    text = _run(verb, "--help")
    return _run(verb, "--help-all") if "--help-all" in text else text


def _run(verb: str, flag: str) -> str:
    command = [sys.executable, "-c", "from hvd_train.cli import main; raise SystemExit(main())", *verb.split(), flag]
    plain = {**os.environ, "COLUMNS": COLUMNS, "NO_COLOR": "1", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    ended = subprocess.run(command, env=plain, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"hvd-train {verb} {flag} ended with {ended.returncode}: {ended.stderr}")
    return "\n".join(line.rstrip() for line in ended.stdout.strip().splitlines())
