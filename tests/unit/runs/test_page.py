"""The page of a run: complete, of one file, safe with any name, readable on light and on dark."""

from __future__ import annotations

import functools
import re
from html.parser import HTMLParser
from importlib import resources

import pytest
from made_up_reports import report

from hvd_train.runs.ensemble_report import EnsembleReport
from hvd_train.runs.page import comparison_page, ensemble_page, run_page
from hvd_train.runs.page.theme import HEAT, SERIES

KINDS = ("years", "classes", "values")
STYLE = resources.files("hvd_train.runs.page").joinpath("page.css").read_text()
# Tags without an end.
VOID = {"meta", "link", "br", "hr"}


class Structure(HTMLParser):
    """The ids of a document, its outside references, its text, and whether each element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href") and not (value or "").startswith(("#", "data:")):
                self.references.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1:] == [tag], f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


@functools.lru_cache
def page_of(kind: str) -> str:
    return run_page(report(kind), "wide-<&>")


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_one_well_formed_file(kind: str) -> None:
    page = page_of(kind)
    found = Structure(page)
    assert found.open == []
    assert found.references == []
    assert len(found.ids) == len(set(found.ids))
    assert not re.search(r"@import|url\((?!#)|<script|https?://(?!www\.w3\.org)", page)
    assert page.count("<h1>") == 1
    assert "wide-<&>" in found.text


def test_the_times_of_a_resumed_run_say_which_sessions_they_are_of() -> None:
    text = Structure(run_page(report(sessions=3), "resumed")).text
    assert "from then to the first steps (last session)" in text
    assert "training (all 3 sessions)" in text
    assert "Ranks (last session)" in text
    assert "session" not in Structure(page_of("years")).text


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_of_an_ensemble_has_its_members_beside_it(kind: str) -> None:
    one = report(kind)
    names = (
        "metrics",
        "baselines",
        "optimum",
        "details",
        "verdict",
        "data_checksum",
        "rows",
        "versions",
        "size",
        "ranks",
    )
    ensemble = EnsembleReport(
        **{name: getattr(one, name) for name in names},
        **{"members": ["runs/<a>", "runs/b"], "member_seconds": [3.0, 4.0], "train_seconds": 6.0, "join_seconds": 1.5},
        date="2026-11-29T01:00:00+00:00",
    )
    page = ensemble_page(ensemble, "three-<&>", [("<a>", one), ("b", one)])
    found = Structure(page)
    assert found.open == found.references == []
    assert len(found.ids) == len(set(found.ids))
    for text in ("three-<&>", "members", "Where it errs", "averaging and evaluation", "Learning curves of the members"):
        assert text in found.text
    # With no member left, the page does without them.
    alone = Structure(ensemble_page(ensemble, "three", [])).text
    assert "Where it errs" in alone
    assert "Learning curves" not in alone


@pytest.mark.parametrize("kind", KINDS)
def test_every_colour_comes_from_the_style_sheet(kind: str) -> None:
    page = page_of(kind)
    body = page.split("</style>", 1)[1]
    assert not re.search(r"#[0-9a-fA-F]{6}\b", body), (
        "a chart has a colour of its own, which is wrong on light or on dark"
    )
    used = set(re.findall(r"var\((--[\w-]+)\)", page))
    light, dark = (set(re.findall(r"(--[\w-]+):", block)) for block in blocks(STYLE))
    assert used <= light
    assert light == dark


def test_the_page_shows_what_a_reader_looks_for() -> None:
    text = Structure(page_of("years")).text
    for part in ("Test split, 10 rows", "trivial baseline", "best possible", "2 of 3", "node1", "512.0 MiB", "By decade",
                 "mean over labels of their mean abs. error 5.0000",
                 "the learning rate is multiplied by 0.5", "songs.csv", "training.num_epochs", "0123456789 with changes"):  # fmt: skip
        assert part in text, part


def test_classes_have_their_confusion_and_names_are_text() -> None:
    page = page_of("classes")
    assert "Rows by true and predicted class" in page
    assert "<oak>" not in page
    assert "&lt;oak&gt;" in page


def test_a_run_of_one_epoch_or_without_figures_has_a_page() -> None:
    short = report(history=[], epochs=0, samples_per_s=float("nan"), first_steps_seconds=None)
    assert Structure(run_page(short, "run")).open == []
    older = report(ranks=[], notes=[], gradient_bytes=0, steps=0)
    assert "Notes of the run" not in run_page(older, "run")


def test_a_comparison_marks_the_best_and_shows_what_differs() -> None:
    other = report(config={"table": {"path": "songs.csv", "drop": []}, "training": {"num_epochs": 3, "seed": 7}})
    better = {split: figures | {"rmse": 0.1} for split, figures in other.metrics.items()}
    page = comparison_page([("narrow", report()), ("wide", report(metrics=better, config=other.config))])
    found = Structure(page)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert "0.1000 (best)" in found.text
    assert "training.seed" in found.text
    assert "training.num_epochs" not in found.text
    assert "Not the same data" not in found.text


def test_runs_on_other_data_can_be_looked_at_but_not_compared() -> None:
    page = comparison_page([("a", report("years")), ("b", report("classes", data_checksum="x"))])
    assert Structure(page).open == []
    assert "Not the same data" in page
    assert "All settings are the same." in page


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast_is_enough_to_read(theme: int) -> None:
    colours = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", blocks(STYLE)[theme]))
    for text in ("--ink", "--muted", "--good", "--bad"):
        for ground in ("--paper", "--panel"):
            # WCAG 2.2, 1.4.3: 4.5 for text; 1.4.11: 3 for graphics.
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for number in range(1, len(SERIES) + 1):
        assert contrast(colours[f"--series-{number}"], colours["--paper"]) >= 3, number
    shades = [luminance(colours[f"--heat-{number}"]) for number in range(len(HEAT))]
    assert shades in (sorted(shades), sorted(shades, reverse=True))


def blocks(style: str) -> tuple[str, str]:
    """The variables on light, and those on dark."""
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    return light, dark


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
