"""The commands in the shell blocks of README.md and docs/ exist, and hvd-train takes what it is called with."""

from __future__ import annotations

import subprocess

import docs_commands
import docs_pages
import pytest

from hvd_train.errors import ConfigError

BLOCKS = [block for page in docs_pages.pages() for block in docs_pages.blocks(page) if block.language == "sh"]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_command_exists(block: docs_pages.Block) -> None:
    syntax = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    assert syntax.returncode == 0, syntax.stderr
    found = list(docs_commands.commands(block.text))
    assert found
    for words in found:
        docs_commands.check(words)


@pytest.mark.parametrize(
    "wrong",
    [
        "hvd-train trian",
        "horovodrun -np 2 hvd-train train --num-epoch 3",
        "hvd-train train --num-epochs three",
        "hvd-train train --recipe default-songs",
        "make trian",
        "mpirun -np 2 --hostfile hostfiles/none hvd-train train",
        "hvdtrain train",
    ],
)
def test_wrong_commands_are_seen(wrong: str) -> None:
    (words,) = docs_commands.commands(wrong)
    with pytest.raises((AssertionError, SystemExit, ConfigError)):
        docs_commands.check(words)
