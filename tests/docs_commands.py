"""The commands in the shell blocks of README.md and docs/, as the test compares them with what exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

import docs_pages

from hvd_train.cli import verbs, which_run
from hvd_train.cli.cluster import submit_verb
from hvd_train.cli.shell.completion import KINDS as KINDS
from hvd_train.cli.terminal import parse
from hvd_train.config import recipes
from hvd_train.distributed.launchers import detect_placement

# Programs of the system that the pages use; what they are called with is not looked at.
OF_THE_SYSTEM = {
    *(
        "cd",
        "cp",
        "curl",
        "docker",
        "export",
        "kubectl",
        "tensorboard",
        "git",
        "head",
        "kill",
        "mkdir",
        "pip",
        "pre-commit",
        "rsync",
        "scontrol",
        "set",
        "sbatch",
        "source",
        "zcat",
    ),
    *("spark-submit", "srun", "ssh", "sudo", "taskset", "wandb", "horovodrun", "mpirun", "python", "pytest", "script"),
}


def commands(text: str) -> Iterator[list[str]]:
    """The simple commands of a shell block, as words; comments and redirections are left out."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
        lexer.commenters, lexer.whitespace_split = "#", True
        words: list[str] = []
        redirected = False
        for word in lexer:
            if word in ("&&", "||", ";", "|", "&"):
                if words:
                    yield words
                words = []
            elif word in ("<", ">", ">>"):
                redirected = True
            elif redirected:
                redirected = False
            elif words or not re.match(r"\w+=", word):  # a variable in front of the command
                words.append(word)
        if words:
            yield words


def ours(words: Sequence[str]) -> list[str] | None:
    """What hvd-train is called with, behind a launcher or not; None for another program."""
    if words[0] == "docker":  # the image is called hvd-train too
        return next(
            (list(words[i + 1 :]) for i, w in enumerate(words) if w == "hvd-train" and _is_verb(words, i)), None
        )
    return list(words[words.index("hvd-train") + 1 :]) if "hvd-train" in words else None


def _is_verb(words: Sequence[str], at: int) -> bool:
    return at + 1 < len(words) and words[at + 1] in verbs.VERBS


def check_ours(given: Sequence[str]) -> None:
    """AssertionError, ConfigError or SystemExit where hvd-train would not take it."""
    if given[0].startswith("-"):
        assert given[0] in ("--help", "--version")
        return
    assert given[0] in verbs.VERBS, f"hvd-train {given[0]}"
    if given == ["jobs"]:
        given = ["jobs", "list"]
    verb = " ".join(given[:2]) if given[0] in ("data", "horovod", "hostfile", "jobs") else given[0]
    rest = list(given[len(verb.split()) :])
    assert verb in KINDS, f"hvd-train {verb}"
    if "--help" in rest or "--help-all" in rest:
        return
    if verb in ("supervise", "launch"):
        rest, behind = submit_verb.split(rest)
        check_ours(behind)
    if verb == "submit":
        rest, run = submit_verb.split(rest)
        assert run, "submit takes what the job runs after --"
        check_ours(run)
        rest = submit_verb.joined(rest)
    rest = which_run.with_newest_run(rest) if verb == "train" else rest
    parsed = parse(KINDS[verb], rest, detect_placement({}), prog=f"hvd-train {verb}")  # type: ignore[var-annotated]
    if recipe := getattr(parsed, "recipe", None):
        recipes.recipe(recipe)


def check(words: Sequence[str]) -> None:
    """AssertionError where a command names something that is not there."""
    given = ours(words)
    if given is not None:
        check_ours(given)
    elif words[0] == "make":
        for target in words[1:]:
            assert "=" in target or target in make_targets(), f"make {target}"
    else:
        assert words[0] in OF_THE_SYSTEM or _is_ours(words[0]), f"what is {words[0]}?"
    for word in words:
        assert not _is_ours(word) or (docs_pages.REPOSITORY / word).exists(), f"there is no {word}"


def make_targets() -> set[str]:
    """Of the Makefile; of `test-%` those that the pages may name."""
    names = set(re.findall(r"^([a-z%-]+):", (docs_pages.REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    return names | {f"test-{np}" for np in (1, 2, 3, 4, 8) if "test-%" in names}


def _is_ours(word: str) -> bool:
    """Whether it is a path that begins with a folder of the repository."""
    first, slash, _ = word.partition("/")
    folders = {
        "benchmarks",
        "docker",
        "docs",
        "examples",
        "hostfiles",
        "hvd_train",
        "requirements",
        "scripts",
    }
    return bool(slash) and first in folders | {"tests"}
