"""The blocks of README.md and docs/ that need TensorFlow or seconds run, and print no error."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import docs_pages
import pytest
from processes import BIN, run

PAGE_BLOCKS = Path(__file__).with_name("page_blocks.py")
MARKED = [block for page in docs_pages.pages() for block in docs_pages.blocks(page) if block.run == "launch"]


@pytest.mark.slow
def test_the_blocks_of_the_pages_run_one_after_another(tmp_path: Path) -> None:
    finished = run(
        [sys.executable, PAGE_BLOCKS, *sorted({block.page for block in MARKED if not block.under})],
        timeout_s=280,
        cwd=tmp_path,
        env={"XDG_CACHE_HOME": str(tmp_path / "cache")},
    )
    assert "Traceback" not in finished.output


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in MARKED if block.under], ids=str)
def test_programs_under_a_launcher_run(block: docs_pages.Block, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(block.text)
    launcher, *options = shlex.split(block.under)
    finished = run([BIN / launcher, *options, sys.executable, script], timeout_s=240, cwd=tmp_path)
    assert "Traceback" not in finished.output


def test_there_are_such_blocks() -> None:
    assert {"python", "sh"} <= {block.language for block in MARKED}
