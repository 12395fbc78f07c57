"""The pages in headless Chromium: films are dropped, answered for, corrected, added and taken back."""

from contextlib import contextmanager
from itertools import pairwise

import pytest
from browser import AXE, AXE_SCRIPT, HEIGHT, MEASURE, WAIT_FOR_IMAGES, WIDTHS, check_page, wait_until
from made_banks import NEW
from made_server import files_of, served

from fewshot_cxr.inference.bank import SupportBank


@contextmanager
def shown(browser, server, **options):
    """Yield a page; at the end it has complained of nothing and asked nobody but the server."""
    context = browser.new_context(viewport={"width": WIDTHS["desk"], "height": HEIGHT}, **options)
    page = context.new_page()
    complaints, asked = [], []
    context.on("console", lambda said: complaints.append(f"{said.type}: {said.text}"))
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)
    yield page
    context.close()
    assert not complaints, complaints
    assert not [url for url in asked if not url.startswith((f"{server.url}/", "data:", "blob:"))]


def check(page):
    """Fail where a page breaks a rule, in both schemes and at both widths."""
    page.evaluate(AXE_SCRIPT)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in WIDTHS.values():
            page.set_viewport_size({"width": width, "height": HEIGHT})
            page.evaluate(WAIT_FOR_IMAGES)
            found = page.evaluate(MEASURE)
            where = f"{page.url}, {scheme}, {width} px"
            assert (found["wider"], found["outside"]) == (0, []), where
            assert (found["broken"], found["stretched"], found["silent"]) == (0, [], 0), where
            headings = found["headings"]
            assert headings[0] == 1, where
            assert headings.count(1) == 1, where
            assert all(later <= earlier + 1 for earlier, later in pairwise(headings)), headings
        faults = page.evaluate(AXE)
        told = [(one["id"], node["html"][:200], node["failureSummary"]) for one in faults for node in one["nodes"]]
        assert not told, f"{where}: {told}"
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": WIDTHS["desk"], "height": HEIGHT})


def drop(page, zone, files):
    """Drop files where a page takes them, as a hand does."""
    content = [{"name": file.name, "bytes": list(file.read_bytes())} for file in files]
    page.evaluate(
        """([zone, files]) => {
            const held = new DataTransfer();
            for (const file of files) held.items.add(new File([new Uint8Array(file.bytes)], file.name));
            const target = document.querySelector(zone);
            for (const kind of ["dragenter", "dragover", "drop"]) {
                target.dispatchEvent(new DragEvent(kind, {dataTransfer: held, bubbles: true, cancelable: true}));
            }
        }""",
        [zone, content],
    )


@pytest.mark.slow
def test_drop_correct_add_and_undo(browser, place, bank_file):
    with served(bank_file) as server, shown(browser, server) as page:
        check(page)
        assert "Research use only. Not a medical device." in page.inner_text(".banner")
        drop(page, "form.ask .drop", files_of(place.new, 3))
        page.click("form.ask button")
        page.wait_for_load_state()
        assert page.inner_text("h1") == "What the bank says of 3 films"
        assert page.locator("article").count() == 3
        check(page)
        card = page.locator("article").first
        card.locator("summary", has_text="Correct it").click()
        card.locator("input[name=finding]").fill(NEW)
        card.get_by_role("button", name="Add it to the bank").click()
        said = "document.querySelector('article .said').textContent"
        wait_until(page, f"{said}.startsWith('Added to the bank as {NEW}')")
        check(page)
        assert NEW in SupportBank.load(bank_file).findings
        card.get_by_role("button", name="Take it back").click()
        wait_until(page, f"{said} === 'Taken back: the bank is as it was before.'")
        assert SupportBank.load(bank_file) == place.bank
        page.goto(server.url)
        page.fill("#finding", NEW)
        page.set_input_files("#more", files_of(place.new, 5))
        page.get_by_role("button", name="Add them to the bank").click()
        assert page.inner_text("[role=status]") == f"5 films of {NEW}: added."
        check(page)
        page.goto(f"{server.url}/log")
        check(page)
        page.get_by_role("button", name="Take it back").click()
        assert page.inner_text("[role=status]") == f"5 films of {NEW}: undone."
        assert SupportBank.load(bank_file) == place.bank


@pytest.mark.slow
def test_the_dial_and_the_downloads(browser, place, server, tmp_path):
    with shown(browser, server) as page:
        films = [file for file in files_of(place.new) if place.bank.predict(file).probabilities][:1]
        page.set_input_files("#films", films)
        page.click("form.ask button")
        page.wait_for_load_state()
        page.evaluate(
            """() => {
                const dial = document.querySelector("#dials input[data-finding=effusion]");
                dial.value = 5;
                dial.dispatchEvent(new Event("input", {bubbles: true}));
            }"""
        )
        wanted = place.bank.predict(films[0], prevalence={"effusion": 0.05}).probabilities
        rows = page.locator("article .bars").first.locator("li")
        assert {rows.nth(at).get_attribute("data-finding") for at in range(rows.count())} == set(wanted)
        for name, share in wanted.items():
            told = page.locator("article .bars").first.locator(f"li[data-finding={name}] .share").inner_text()
            assert float(told) == pytest.approx(share, abs=0.011)
        for name in ("answers.csv", "answers.html"):
            with page.expect_download() as download:
                page.click(f"a[download='{name}']")
            download.value.save_as(tmp_path / name)
        assert (tmp_path / "answers.csv").read_text().startswith("path,finding,answer,reason")
        assert films[0].name in (tmp_path / "answers.csv").read_text()
    kept = (tmp_path / "answers.html").read_text()
    assert kept.count("<article") == 1
    assert "<form" not in kept
    assert "<script" not in kept
    check_page(browser, tmp_path / "answers.html")


@pytest.mark.slow
def test_without_a_script(browser, place, bank_file):
    with served(bank_file) as server, shown(browser, server, java_script_enabled=False) as page:
        page.set_input_files("#films", [*files_of(place.new, 1), *files_of(place.known, 1)])
        page.click("form.ask button")
        page.wait_for_load_state()
        assert page.locator("article").count() == 2
        page.locator("summary", has_text="Correct it").first.click()
        page.locator("article input[name=finding]").first.fill(NEW)
        with page.context.expect_page() as opened:
            page.get_by_role("button", name="Add it to the bank").first.click()
        opened.value.wait_for_load_state()
        assert opened.value.inner_text("[role=status]") == f"1 film of {NEW}: added."
        opened.value.get_by_role("button", name="Take it back").click()
        assert opened.value.inner_text("[role=status]") == f"1 film of {NEW}: undone."
        assert SupportBank.load(bank_file) == place.bank


@pytest.mark.slow
def test_by_keyboard_alone(browser, place, server):
    with shown(browser, server) as page:
        page.set_input_files("#films", files_of(place.new, 1))
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        seen = []
        for _ in range(12):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("document.activeElement.id"))
            if page.evaluate("document.activeElement.tagName") == "BUTTON":
                break
        assert "films" in seen
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert page.inner_text("h1") == "What the bank says of 1 film"
        page.locator("summary", has_text="Correct it").focus()
        page.keyboard.press("Space")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.name") == "finding"


@pytest.mark.slow
def test_other_pages(browser, server):
    with shown(browser, server) as page:
        for path in ("/api", "/log", "/sign-in"):
            page.goto(f"{server.url}{path}")
            check(page)


@pytest.mark.slow
def test_why_this_rather_than_that(browser, place, server):
    with shown(browser, server) as page:
        page.set_input_files("#films", files_of(place.new, 1))
        page.click("form.ask button")
        page.wait_for_load_state()
        page.locator("summary", has_text="rather than another finding").click()
        page.get_by_role("button", name="Show where the network looks").click()
        wait_until(page, "document.querySelector('form.film img') !== null")
        check(page)
        assert "rather than for" in page.locator("form.film img").get_attribute("alt")
