"""The manifest on the page about Kubernetes is the one that its first command makes. Write it again with

PYTHONPATH=tests python tests/unit/docs/test_page_of_kubernetes.py
"""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import docs_commands
import docs_pages

from hvd_train.cli import main

PAGE = docs_pages.DOCS / "how-to" / "kubernetes.md"


def manifest_of(page: Path) -> str:
    """What the first command of the page would submit."""
    first = next(block for block in docs_pages.blocks(page) if block.language == "sh")
    words = next(docs_commands.commands(first.text))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*words[1:2], "--dry-run", *words[2:]]) == 0
    return out.getvalue().partition("\n# kubectl")[0]


def test_the_manifest_on_the_page_is_the_one_that_is_made() -> None:
    shown = [block.text for block in docs_pages.blocks(PAGE) if block.language == "yaml"]
    assert shown == [manifest_of(PAGE)], f"run: python {Path(__file__).name}"


if __name__ == "__main__":
    made = f"```yaml\n{manifest_of(PAGE)}```"
    PAGE.write_text(re.sub(r"```yaml\n.*?```", lambda _: made, PAGE.read_text(), flags=re.DOTALL))
