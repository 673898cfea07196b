"""What the tests of README.md and docs/ share: the pages, and their blocks, prose, links and anchors.

A block of code can have a mark in front of it:

    <!-- run: launch -->                      tests/launch runs it: it loads TensorFlow, or takes seconds
    <!-- run: launch, after: COMMAND -->      the same, after this command of hvd-train
    <!-- run: launch, under: LAUNCHER -->     the same, as a program under this launcher
    <!-- run: unit -->                        tests/unit runs it, though it is a shell block
    <!-- not run: REASON -->                  nobody runs it; it is parsed

Without a mark a Python block runs in tests/unit, and a shell block is parsed and compared with the real parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = REPOSITORY / "docs"
MARK = re.compile(
    r"<!-- (?:run: (?P<run>unit|launch)(?:, after: (?P<after>.+)|, under: (?P<under>.+))?|not run: (?P<not_run>.+)) -->"
)
FENCE = re.compile(r"^( *)```(\S*)\s*$")


def pages() -> list[Path]:
    """Every Markdown file that a reader of the project meets."""
    top = [path for path in sorted(REPOSITORY.glob("*.md")) if path.name != "CHANGELOG.md"]
    return [*top, *sorted(DOCS.rglob("*.md"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@dataclass(frozen=True)
class Block:
    """A fenced block, with what its mark has."""

    page: str
    line: int
    language: str
    text: str
    run: str = ""
    after: str = ""
    under: str = ""
    not_run: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(path: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in their order. ValueError for one that is not closed."""
    mark: re.Match[str] | None = None
    lines = iter(enumerate(path.read_text().splitlines(), 1))
    for number, line in lines:
        if opened := FENCE.match(line):
            inside = []
            for _, inner in lines:
                if inner.strip() == "```":
                    break
                inside.append(inner.removeprefix(opened[1]))
            else:
                raise ValueError(f"{path}:{number}: this block is not closed")
            marked = mark.groupdict("") if mark else {}
            yield Block(name_of(path), number, opened[2], "\n".join(inside) + "\n", **marked)
        mark = MARK.fullmatch(line.strip()) if line.strip() else mark


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are read as text: without blocks, code in backticks, addresses of links and comments."""
    text = re.sub(r"(?ms)^( *)```.*?^ *```$", _blank, path.read_text())
    text = re.sub(r"(?s)<!--.*?-->", _blank, text)
    text = re.sub(r"`[^`\n]+(\n[^`\n]+)?`", lambda found: "CODE" + _blank(found), text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    yield from enumerate(text.splitlines(), 1)


def _blank(found: re.Match[str]) -> str:
    return "\n" * found[0].count("\n")


def paragraphs(path: Path) -> Iterator[tuple[int, str]]:
    """Paragraphs and list items, each on one line; no headings and no tables."""
    begun, words = 0, ""
    for number, line in [*prose(path), (0, "")]:
        text = line.strip()
        new = bool(re.match(r"([-*]|\d+\.) ", text)) or not text or text.startswith(("#", "|", "!["))
        if new and words:
            yield begun, words
            words = ""
        if text and not text.startswith(("#", "|", "![", ":::")):
            begun = begun if words else number
            words = f"{words} {text}".strip()


def sentences(text: str) -> list[str]:
    """Of a paragraph. A colon ends one too: what follows it is a list or an explanation."""
    text = re.sub(r"\b(e\.g|i\.e|et al|vs|etc)\.", r"\1", text)
    return [part for part in re.split(r"(?<=:)\s+|(?<=[.!?])[*\"')\]]*\s+(?=[\[*\"'(]*\w)", text) if part]


def links(path: Path) -> Iterator[tuple[int, str]]:
    """The targets of a page's links and pictures."""
    text = re.sub(r"(?ms)^( *)```.*?^ *```$", _blank, path.read_text())
    for number, line in enumerate(text.splitlines(), 1):
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
            yield number, target


def anchors(path: Path) -> set[str]:
    """What a link may name after #: the headings, as Markdown makes ids of them."""
    text = re.sub(r"(?ms)^( *)```.*?^ *```$", "", path.read_text())
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
