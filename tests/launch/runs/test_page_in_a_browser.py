"""The pages of runs in a headless Chromium: no errors, and nothing wider than the window on a phone, a tablet and a desk."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import pytest
from made_up_reports import report
from processes import run

from hvd_train.runs.page import comparison_page, run_page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = (360, 800, 1400)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed: apt-get install chromium"),
]
# The page in a frame of each width. What it finds is read from the document that the browser prints at the end.
FRAMES = """<!DOCTYPE html><title>frames</title><body><pre id="found"></pre>{frames}<script>

window.addEventListener("load", () => {{
  const found = [...document.querySelectorAll("iframe")].map((frame) => ({{
    width: frame.width,
    content: frame.contentDocument.documentElement.scrollWidth,
    charts: frame.contentDocument.querySelectorAll("svg").length,
    broken: [...frame.contentDocument.querySelectorAll("td.good, td.bad")].filter((cell) => {{
      const text = frame.contentDocument.createRange();
      text.selectNodeContents(cell);
      return new Set([...text.getClientRects()].map((line) => line.top)).size > 1;
    }}).length,
    unreadable: [...frame.contentDocument.querySelectorAll("svg text")].filter((text) => text.getBoundingClientRect().height < 4).length,
  }}));
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>"""
PAGES = {
    "years": lambda: run_page(report("years"), "a-run-with-a-rather-long-name-20260101-120000-job4711"),
    "classes": lambda: run_page(report("classes"), "leaves"),
    "values": lambda: run_page(report("values"), "concrete"),
    "comparison": lambda: comparison_page([(f"run-{n}-with-a-long-name", report(seed=n)) for n in range(7)]),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_every_window_and_reports_no_error(name: str, tmp_path: Path) -> None:
    page = PAGES[name]()
    frames = "".join(
        f'<iframe width="{width}" height="2000" srcdoc="{html.escape(page, quote=True)}"></iframe>' for width in WIDTHS
    )
    document = tmp_path / "frames.html"
    document.write_text(FRAMES.format(frames=frames))
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--v=0",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    shown = run([str(BROWSER), *flags, "--virtual-time-budget=5000", "--dump-dom", document.as_uri()], timeout_s=90)
    assert "CONSOLE" not in shown.stderr, shown.stderr
    found = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', shown.stdout, re.DOTALL)[1]))  # type: ignore[index]
    assert [int(one["width"]) for one in found] == list(WIDTHS)
    for one in found:
        assert one["content"] <= int(one["width"]), one
        assert one["charts"] == page.count("<svg "), one
        assert one["unreadable"] == 0, one
        assert one["broken"] == 0, one  # "better" over two lines
