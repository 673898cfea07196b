"""The command line is frozen: flags.txt holds every flag, its type and its default. `--help` shows twenty of train's.

After a wanted change write the file again, and look at its difference:

    PYTHONPATH=tests python tests/unit/cli/test_flags.py
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import tyro
from docs_commands import KINDS

from hvd_train.cli import arguments, verbs
from hvd_train.cli.common_flags import COMMON

FROZEN = Path(__file__).with_name("flags.txt")
# What `hvd-train train --help` shows.
TWENTY = [
    "--recipe",
    "--config",
    "--run-dir",
    "--resume",
    "--data",
    "--label",
    "--label-kind",
    "--drop",
    "--layout",
    "--split",
    "--model",
    "--filters",
    "--dense-units",
    "--loss",
    "--optimizer",
    "--base-learning-rate",
    "--global-batch-size",
    "--num-epochs",
    "--seed",
    "--early-stopping-patience",
]


def flags_of(kind: type) -> list[str]:
    """A line for each argument: name, type, default."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        parser = tyro.extras.get_parser(kind)
    lines = []
    for action in parser._actions[1:]:  # the first is --help
        name = ", ".join(action.option_strings) or action.dest
        default = re.search(r"\((default: [^()]*|required)\)$", action.help or "")
        lines.append(f"{name} {action.metavar or ''}  ({default[1] if default else '?'})".replace(" ?)", ")"))
    return lines


def every_flag() -> str:
    """The text of flags.txt. The flags of a RunConfig stand under train alone."""
    of_train = flags_of(KINDS["train"])
    parts = []
    for verb, kind in KINDS.items():
        lines = flags_of(kind)
        shared = [line for line in lines if line in of_train] if issubclass(kind, arguments.RecipeArguments) else []
        own = lines if verb == "train" else [line for line in lines if line not in shared]
        more = [f"and {len(shared)} flags of train"] if shared and verb != "train" else []
        parts.append("\n".join([f"hvd-train {verb}", *(f"    {line}" for line in own + more)]))
    return "\n\n".join(parts) + "\n"


def shown(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    """The flags in the help that the command prints."""
    assert verbs.main(argv) == 0
    printed = capsys.readouterr().out
    return re.findall(r"^\W? (--[a-z][a-z-]*)", printed, re.MULTILINE)


def test_the_command_line_is_the_frozen_one() -> None:
    assert every_flag() == FROZEN.read_text(), f"python {Path(__file__).name} writes the file again: is it wanted?"


def test_help_shows_the_twenty_and_help_all_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(TWENTY) == 20
    assert shown(capsys, "train", "--help") == TWENTY
    everything = shown(capsys, "train", "--help-all")
    assert everything == [line.split()[0].rstrip(",") for line in flags_of(arguments.TrainArguments)]
    assert len(everything) > 90


@pytest.mark.parametrize(
    ("verb", "own"),
    [
        ("ensemble", {"--run-dir", "--members", "--runs"}),
        ("search", {"--out", "--trials", "--space", "--prune", "--resume"}),
        ("bench", {"--measure", "--np", "--seconds", "--repeats", "--out", "--hostfile", "--hosts"}),
        ("tune", {"--np", "--search", "--seconds", "--rungs", "--out", "--hostfile"}),
    ],
)
def test_verbs_that_share_the_flags_share_the_help(
    verb: str, own: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(shown(capsys, verb, "-h")) == (set(TWENTY) - {"--run-dir", "--resume"}) | own
    assert "--cycle-time-ms" in shown(capsys, verb, "--help-all")


def test_help_shows_the_defaults_of_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.main(["train", "--recipe", "leaves", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "(default: species)" in printed
    assert "--help-all shows all of them" in printed


def test_hidden_flags_work_all_the_same() -> None:
    given = tyro.cli(
        arguments.TrainArguments, args=["--cycle-time-ms", "2", "--mixup-alpha", "0.5", "--split-seed", "3"]
    )
    assert given.run.distributed.cycle_time_ms == 2.0
    assert given.run.sampling.mixup_alpha == 0.5
    assert given.run.split.seed == 3


def test_every_common_field_is_there() -> None:
    for section, names in COMMON.items():
        fields: dict[str, Any] = section.__dataclass_fields__  # type: ignore[attr-defined]
        assert set(names) <= set(fields)


if __name__ == "__main__":
    FROZEN.write_text(every_flag())
