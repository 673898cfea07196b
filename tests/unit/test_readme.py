"""The commands in README.md and docs/ are commands that hvd-train takes, and the files they name are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import tyro

from hvd_train.cli import arguments, data_verbs
from hvd_train.cli.verbs import VERBS

REPOSITORY = Path(__file__).resolve().parents[2]
KINDS = {
    "train": arguments.TrainArguments,
    "ensemble": arguments.EnsembleArguments,
    "evaluate": arguments.EvaluateArguments,
    "predict": arguments.PredictArguments,
    "bench": arguments.BenchArguments,
    "tune": arguments.TuneArguments,
    "doctor": arguments.DoctorArguments,
    "data fetch": data_verbs.FetchArguments,
    "data convert": data_verbs.ConvertArguments,
    "data check": data_verbs.CheckArguments,
    "data describe": data_verbs.DescribeArguments,
    "hostfile check": arguments.HostfileCheckArguments,
    "hostfile convert": arguments.HostfileConvertArguments,
}


def commands(page: str) -> list[str]:
    """The lines of its indented blocks that run hvd-train, from there on, without comment and redirection."""
    text = (REPOSITORY / page).read_text()
    # Not those of docker, where the image is called hvd-train too.
    lines = re.findall(r"^ {4}(?:(?:horovodrun|mpirun|srun)\b.* )?hvd-train (.+)$", text, re.MULTILINE)
    return [re.split(r"\s+#|\s+>", line)[0] for line in lines]


@pytest.mark.parametrize(
    "page", ["README.md", "docs/data.md", "docs/clusters.md", "docs/models.md", "docs/performance.md"]
)
def test_every_command_is_one(page: str) -> None:
    found = commands(page)
    assert found or page != "README.md"
    for command in found:
        words = shlex.split(command)
        assert words[0] in VERBS, command
        verb = " ".join(words[:2]) if words[0] in ("data", "hostfile") else words[0]
        rest = words[len(verb.split()) :]
        if rest[-1:] == ["--resume"]:  # without a value: the newest run
            rest = [*rest, "run"]
        tyro.cli(KINDS[verb], args=rest, console_outputs=False)


def test_every_file_that_the_readme_links_to_is_there() -> None:
    text = (REPOSITORY / "README.md").read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if not link.startswith("http"):
            assert (REPOSITORY / link).is_file(), link


def test_the_readme_opens_with_the_two_commands() -> None:
    text = (REPOSITORY / "README.md").read_text()
    assert text.index("make train") < text.index("make test") < text.index("horovodrun -np")
