"""The scripts on the pages of the schedulers are those that `hvd-train submit` makes. Write them again with

PYTHONPATH=tests python tests/unit/docs/test_pages_of_schedulers.py
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import docs_commands
import docs_pages
import pytest

from hvd_train.cli.cluster.submit_verb import SubmitArguments, joined, split
from hvd_train.cli.cluster.submitted_flags import parsed_run
from hvd_train.cli.terminal import parse
from hvd_train.cluster import of_site, read_sweep
from hvd_train.cluster.submit import checks, preparation
from hvd_train.cluster.submit.script import OPEN_MPI
from hvd_train.distributed.launchers import detect_placement

PAGES = {"slurm": "slurm.md", "pbs": "pbs.md", "sge": "grid-engine.md", "lsf": "lsf.md"}
EXAMPLES = docs_pages.REPOSITORY / "examples"


def command_of(page: Path) -> list[str]:
    """The first command of a page, which the script belongs to."""
    first = next(block for block in docs_pages.blocks(page) if block.language == "sh")
    words = next(docs_commands.commands(first.text))
    assert words[:2] == ["hvd-train", "submit"], shlex.join(words)
    return words[2:]


def script_of(flag: str, page: Path) -> str:
    """What the command of the page would submit for /home/ada/songs, with hvd_train in /opt/hvd_train."""
    own, run = split(command_of(page))
    placement = detect_placement({})
    arguments = parse(SubmitArguments, ["--on", flag, *joined(own)], placement, prog="hvd-train submit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "working_directory", lambda: Path("/home/ada/songs"))
        patch.setattr(preparation, "environment", lambda: {"PYTHONUNBUFFERED": "1", **OPEN_MPI})
        patch.setattr(sys, "prefix", "/opt/hvd_train/.venv")
        patch.setattr(checks, "require_data", lambda _: None)
        ready = preparation.prepare_job(arguments, run[0], [parsed_run(run[0], run[1:], (), placement)], is_array=False)
    return ready.document


@pytest.mark.parametrize("flag", PAGES)
def test_the_script_on_the_page_is_the_one_that_is_made(flag: str) -> None:
    page = docs_pages.DOCS / "how-to" / PAGES[flag]
    shown = [block.text for block in docs_pages.blocks(page) if block.text.startswith("#!/bin/bash\n")]
    assert shown == [script_of(flag, page)], f"run: python {Path(__file__).name}"


def test_the_examples_are_read() -> None:
    assert of_site(EXAMPLES / "site.toml").account == "phys-42"
    tasks = read_sweep(EXAMPLES / "sweep.toml")
    assert len(tasks) == 8
    assert tasks[0] == ("--model", "mlp", "--dense-units", "64", "64", "--base-learning-rate", "0.001", "--seed", "0")
    for task in tasks:
        parsed_run("train", ["--recipe", "debug"], task, detect_placement({}))
    page = (docs_pages.DOCS / "how-to" / "clusters.md").read_text()
    for name in ("site.toml", "sweep.toml"):
        assert f"```text\n{(EXAMPLES / name).read_text()}```" in page, name


if __name__ == "__main__":
    for scheduler, name in PAGES.items():
        path = docs_pages.DOCS / "how-to" / name
        made = f"```text\n{script_of(scheduler, path)}```"
        path.write_text(
            re.sub(r"```text\n#!/bin/bash\n.*?```", lambda _, made=made: made, path.read_text(), flags=re.DOTALL)
        )
    clusters = docs_pages.DOCS / "how-to" / "clusters.md"
    for name in ("site.toml", "sweep.toml"):
        text = f"<!-- {name} -->\n\n```text\n{(EXAMPLES / name).read_text()}```"
        clusters.write_text(
            re.sub(
                rf"<!-- {name} -->\n\n```text\n.*?```", lambda _, text=text: text, clusters.read_text(), flags=re.DOTALL
            )
        )
