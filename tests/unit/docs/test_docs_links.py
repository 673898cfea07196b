"""Every link of README.md, CONTRIBUTING.md, SECURITY.md and docs/ leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import docs_pages
import pytest


@pytest.mark.parametrize("page", docs_pages.pages(), ids=docs_pages.name_of)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = [f"line {number}: {target}" for number, target in docs_pages.links(page) if not leads(page, target)]
    assert wrong == []


def leads(page: Path, target: str) -> bool:
    """A file of the repository with that anchor, or an address that is well formed (nothing is asked of a network)."""
    if re.match(r"[a-z]+:", target):
        address = urlsplit(target)
        return address.scheme == "https" and "." in address.netloc
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    # Pages of the site may link to pages of the site alone.
    if not path.is_file() or (docs_pages.DOCS in page.parents and docs_pages.DOCS not in path.parents):
        return False
    return not anchor or (path.suffix == ".md" and anchor in docs_pages.anchors(path))


def test_wrong_links_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, other = tmp_path / "a.md", tmp_path / "b.md"
    other.write_text("# A title: with signs\n")
    page.write_text("[a](b.md) [b](b.md#a-title-with-signs) [c](https://example.org/x)\n")
    monkeypatch.setattr(docs_pages, "DOCS", tmp_path)
    assert all(leads(page, target) for _, target in docs_pages.links(page))
    for wrong in ("c.md", "b.md#another", "http://example.org", "https://nowhere", "../outside.md"):
        assert not leads(page, wrong), wrong


def test_every_page_is_in_the_navigation() -> None:
    """`mkdocs build --strict` asks for it too, but needs packages that tests do not have."""
    navigation = (docs_pages.REPOSITORY / "mkdocs.yml").read_text().partition("\nnav:")[2]
    listed = set(re.findall(r": (\S+\.md)$", navigation, re.MULTILINE))
    assert listed == {str(path.relative_to(docs_pages.DOCS)) for path in docs_pages.DOCS.rglob("*.md")}
