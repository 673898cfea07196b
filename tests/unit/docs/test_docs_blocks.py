"""The blocks of README.md and docs/ are right: Python runs, configurations load and TOML parses.

tests/launch/docs compares the commands with the real parser, which takes seconds, and runs what needs TensorFlow.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import docs_commands
import docs_pages
import pytest

from hvd_train.cli import main
from hvd_train.config import RunConfig
from hvd_train.config import toml as config_toml
from hvd_train.search import load_space

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BLOCKS = [block for page in docs_pages.pages() for block in docs_pages.blocks(page)]
LANGUAGES = {"sh", "python", "text", "toml", "yaml", "diff", "dockerfile", "ini"}


def of(language: str) -> list[docs_pages.Block]:
    return [block for block in BLOCKS if block.language == language]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_names_its_language(block: docs_pages.Block) -> None:
    assert block.language in LANGUAGES


def test_no_block_is_indented_text() -> None:
    """Blocks of four spaces have no language, so nothing would look at them."""
    for page in docs_pages.pages():
        before = ""
        for number, line in docs_pages.prose(page):
            is_block = line.startswith("    ") and not before.strip() and not re.match(r" *([-*]|\d+\.) ", line)
            assert not is_block, f"{docs_pages.name_of(page)}:{number}"
            before = line


@pytest.mark.parametrize("block", [b for b in of("sh") if b.run == "unit"], ids=str)
def test_quick_commands_run(block: docs_pages.Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(docs_pages.REPOSITORY)
    for words in docs_commands.commands(block.text):
        given = docs_commands.ours(words)
        assert given is not None, words
        assert main(given) == 0


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python_blocks_run(block: docs_pages.Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = compile(block.text, str(block), "exec")
    if block.run or block.not_run:
        return
    monkeypatch.chdir(tmp_path)
    loaded = set(sys.modules)
    exec(code, {"__name__": "__main__"})
    assert not {"tensorflow", "keras"} & (set(sys.modules) - loaded), "mark it with <!-- run: launch -->"


@pytest.mark.parametrize("block", of("toml"), ids=str)
def test_toml_blocks_are_configurations(block: docs_pages.Block, tmp_path: Path) -> None:
    """Or the space of a search."""
    document = tomllib.loads(block.text)
    if any(
        {"low", "choices"} & set(entry)
        for fields in document.values()
        for entry in fields.values()
        if isinstance(entry, dict)
    ):
        path = tmp_path / "space.toml"
        path.write_text(block.text)
        load_space(path, RunConfig())
        return
    config_toml.loads(block.text, source=str(block))


def test_the_readme_shows_lines_of_the_tutorial_s_log() -> None:
    tutorial = docs_pages.DOCS / "tutorials" / "first-run.md"
    log = next(block for block in docs_pages.blocks(tutorial) if "[1,0]<stdout>:epoch" in block.text)
    shown = [block for block in docs_pages.blocks(docs_pages.REPOSITORY / "README.md") if "epoch" in block.text]
    lines = [line for block in shown if block.language == "text" for line in block.text.splitlines() if line.strip()]
    assert len(lines) >= 5
    known = {line.removeprefix("[1,0]<stdout>:").rstrip() for line in log.text.splitlines()}
    assert [line for line in lines if line.rstrip() not in known | {"..."}] == []


def test_the_readme_opens_with_the_two_commands() -> None:
    first = next(block for block in docs_pages.blocks(docs_pages.REPOSITORY / "README.md") if block.language == "sh")
    assert [words for words in docs_commands.commands(first.text)] == [["make", "train"], ["make", "test"]]


# What other programs print: Open MPI, horovodrun, pip, Horovod, Keras.
OF_OTHERS = re.compile(
    r"help-pmix|evars|not enough slots|run as root|pip install|xla_mpi_ops|compatible17|Executable: none|Read -1|PMIx_Fin|in progress"
    r"|horovodrun -|^\w*Error$|^make setup$|Missing ranks|has no attribute"
)


def test_the_troubleshooting_page_has_messages_that_the_program_prints() -> None:
    """Readers search for them. Numbers and names in them are not compared."""
    folders = [docs_pages.REPOSITORY / name for name in ("hvd_train", "scripts")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".sh", ".patch")]
    source = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in files))
    page = (docs_pages.DOCS / "how-to" / "troubleshooting.md").read_text()
    quoted = [
        quote for heading in re.findall(r"^### (.+)$", page, re.MULTILINE) for quote in re.findall("`(.+?)`", heading)
    ]
    assert len(quoted) > 40
    unknown = []
    for quote in quoted:
        parts = [part.strip(" ,.:") for part in re.split(r"\.\.\.|\d+|lab\d|'year'|process", quote)]
        if not OF_OTHERS.search(quote) and any(len(part) > 5 and part not in source for part in parts):
            unknown.append(quote)
    assert unknown == []


def test_every_path_of_the_repository_that_is_named_exists() -> None:
    """`hvd_train/...`, `tests/...` and the like in backticks."""
    pattern = re.compile(
        r"`((?:benchmarks|docker|docs|examples|horovod|hostfiles|hvd_train|requirements|scripts|tests)/[^`\s]*)`"
    )
    absent = []
    for page in docs_pages.pages():
        for name in pattern.findall(page.read_text()):
            path, _, _ = name.partition("::")
            if "NAME" not in path and not list(docs_pages.REPOSITORY.glob(path.rstrip("/"))):
                absent.append(f"{docs_pages.name_of(page)}: {name}")
    assert absent == []
