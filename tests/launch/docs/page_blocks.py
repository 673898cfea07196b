"""Run the blocks of pages that are marked for tests/launch, in their order and in this one process.

    python page_blocks.py README.md docs/how-to/predict.md

Each page has a folder of its own below the present one, and its Python blocks share their names. The commands of shell
blocks are called without a shell, so that TensorFlow is loaded once.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import docs_commands
import docs_pages

from hvd_train.cli import main


def call(given: list[str]) -> None:
    print("$ hvd-train", shlex.join(given), flush=True)
    code = main(given)
    if code:
        raise SystemExit(f"hvd-train {shlex.join(given)} ended with {code}")


def run(page: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in docs_pages.blocks(page):
        if block.run != "launch" or block.under:
            continue
        print(f"--- {block}", flush=True)
        if block.after:
            call(shlex.split(block.after)[1:])
        if block.language == "python":
            exec(compile(block.text, str(block), "exec"), names)
            continue
        for words in docs_commands.commands(block.text):
            assert words[0] == "hvd-train", f"{block}: only hvd-train is called here, not {words[0]}"
            call(words[1:])


if __name__ == "__main__":
    start = Path.cwd()
    for name in sys.argv[1:]:
        folder = start / name.replace("/", "-")
        folder.mkdir()
        os.chdir(folder)
        run(docs_pages.REPOSITORY / name)
