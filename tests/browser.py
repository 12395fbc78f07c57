"""Pages in headless Chromium: what every page must keep, at both widths, in both colour schemes, on paper."""

import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = {"telephone": 390, "desk": 1280}
HEIGHT = 844
WAIT_FOR_IMAGES = "() => Promise.all([...document.images].map(image => image.decode().catch(() => null)))"
MEASURE = """() => {
  const scrolls = part => ["auto", "scroll"].includes(getComputedStyle(part).overflowX);
  const insideScroller = part => {
    for (let at = part.parentElement; at && at !== document.body; at = at.parentElement) if (scrolls(at)) return true;
    return false;
  };
  const room = document.documentElement.clientWidth;
  const name = part => `<${part.tagName.toLowerCase()} class="${part.className}"> ${part.textContent.slice(0, 40)}`;
  const images = [...document.images];
  const shape = image => image.width / image.height - image.naturalWidth / image.naturalHeight;
  return {
    wider: Math.max(0, document.scrollingElement.scrollWidth - window.innerWidth),
    outside: [...document.body.querySelectorAll("*")]
      .filter(part => part.getBoundingClientRect().right > room + 1 && !insideScroller(part)).map(name),
    headings: [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map(part => Number(part.tagName[1])),
    broken: images.filter(image => !image.complete || !image.naturalWidth).length,
    stretched: images.filter(image => Math.abs(shape(image)) > 0.02).map(image => image.alt),
    silent: images.filter(image => !image.alt.trim()).length,
    n_sources: new Set(images.map(image => image.currentSrc)).size,
  };
}"""
AXE = "() => axe.run(document, {resultTypes: ['violations']}).then(found => found.violations)"


@contextmanager
def started_browser():
    """Yield Chromium; a test is skipped where there is none. FSCXR_BROWSER names another than the one on the path."""
    path = os.environ.get("FSCXR_BROWSER") or next((path for path in map(shutil.which, NAMES) if path), None)
    if path is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed, and FSCXR_BROWSER names no browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(browser, html_or_path, *, width=WIDTHS["desk"], colour_scheme="light", **options):
    """Yield a page opened from disk; at the end it has complained of nothing and asked for nothing but itself."""
    with tempfile.TemporaryDirectory() as folder:
        file = html_or_path
        if not isinstance(html_or_path, Path):
            file = Path(folder) / "page.html"
            file.write_text(html_or_path, encoding="utf-8")
        size = {"width": width, "height": HEIGHT}
        context = browser.new_context(viewport=size, color_scheme=colour_scheme, **options)
        page = context.new_page()
        complaints, asked = [], []
        page.on("console", lambda said: complaints.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.resolve().as_uri())
        yield page
        context.close()
    assert not complaints, complaints
    elsewhere = [url[:200] for url in asked if not url.startswith("data:") and url != file.resolve().as_uri()]
    assert not elsewhere, elsewhere


def check_page(browser, html_or_path):
    """Fail where a page breaks a rule: its console, images, widths, headings, alternative texts, contrast, print."""
    with opened(browser, html_or_path) as page:
        page.evaluate(AXE_SCRIPT)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for width in WIDTHS.values():
                page.set_viewport_size({"width": width, "height": HEIGHT})
                page.evaluate(WAIT_FOR_IMAGES)
                n_sources = _check_shown(page.evaluate(MEASURE), f"{scheme}, {width} px")
            _check_accessible(page, scheme)
        page.emulate_media(media="print", color_scheme="light")
        page.evaluate(WAIT_FOR_IMAGES)
        assert page.pdf().count(b"/Subtype /Image") >= n_sources, "a picture is missing on paper"


def _check_shown(found, where):
    assert not found["outside"], f"{where}: {found['outside']}"
    assert found["headings"].count(1) == 1, where
    steps = zip(found["headings"], found["headings"][1:], strict=False)
    assert all(later <= earlier + 1 for earlier, later in steps), found["headings"]
    assert found["headings"][0] == 1, where
    assert found["wider"] == 0, f"{where}: {found['wider']} px too wide"
    assert (found["broken"], found["stretched"], found["silent"]) == (0, [], 0), where
    return found["n_sources"]


def _check_accessible(page, scheme):
    grave = [fault for fault in page.evaluate(AXE) if fault["impact"] in ("serious", "critical")]
    nodes = [(fault["id"], node) for fault in grave for node in fault["nodes"]]
    told = [f"{name}: {node['html'][:200]} {node['failureSummary']}" for name, node in nodes]
    assert not told, f"{scheme}: {told}"


def wait_until(page, condition, seconds=30):
    """Wait for a condition in JavaScript; asked from outside: pages forbid eval, which wait_for_function polls with."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)
