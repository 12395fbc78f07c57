from pathlib import Path

import numpy as np
import pytest
from browser import check_page, opened, wait_until
from made_results import GENERALIZED, MULTI_LABEL, OPEN_RESULT, OVERLAPPING, made_result

from fewshot_cxr.data.synthetic import SYNTHETIC_FINDINGS, make_synthetic
from fewshot_cxr.evaluation.audit import audit_films
from fewshot_cxr.report import Headline, Page, Section, Table, audit_page, episode_page, render_page, samples_section
from fewshot_cxr.report.projection_page import projection_page

pytestmark = pytest.mark.slow  # Chromium alone takes seconds to start
RESULTS = {"generalized": GENERALIZED, "several findings": MULTI_LABEL, "open set": OPEN_RESULT, "overlap": OVERLAPPING}
LONG = "peripheral_ground_glass_opacity_of_both_lungs"
FILMS = {LONG: [np.full((64, 64), 90, dtype=np.uint8)] * 4, "normal": [np.zeros((64, 64), dtype=np.uint8)] * 4}
N_POINTS = 5000


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_the_page_of_a_result(browser, name):
    check_page(browser, render_page(episode_page(RESULTS[name], facts=(("command", "fscxr " + "x" * 300),))))


def test_the_page_of_an_audit(browser, tmp_path):
    films = make_synthetic(tmp_path / "films", findings=("normal", "effusion"), n_patients=4, size_px=64)
    check_page(browser, render_page(audit_page(audit_films(films, n_workers=1), films)))


def long_page():
    """A page with all that a page can hold, and a table that must scroll."""
    (picture,) = samples_section(FILMS).pictures
    table = Table(("finding", "recall", "most often taken for"), ((LONG, "70.1 to 88.9 %", f"{LONG} (10.0 %)"),) * 2)
    wide = Table(("name", *"abcdefghijkl"), ((LONG, *["70.1 to 88.9 %"] * 12),), below=(("a", "why it is undefined"),))
    return Page(
        title=f"All about {LONG}",
        lead=("A sentence.",),
        alarms=("Beware.",),
        headlines=(Headline("81.2 %", "accuracy", "95 % over patients: 70.1 to 88.9 %"), Headline("1", "one")),
        cautions=("Not for clinical use.",),
        sections=(
            samples_section(FILMS),
            Section("Gallery", ("Told.",), (picture, picture), is_gallery=True),
            Section("Tables", table=table, tables=(table, wide), facts=(("hash", "ab12" * 40),)),
            *(Section(f"Section {number}", ("Text.",)) for number in range(4)),
        ),
    )


def test_a_page_with_everything(browser):
    check_page(browser, render_page(long_page()))


def test_links_lead_where_they_say(browser):
    with opened(browser, render_page(long_page())) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
        links = page.locator("nav a")
        assert links.all_text_contents() == [section.heading for section in long_page().sections]
        links.nth(2).click()
        assert page.evaluate("document.querySelector(':target').textContent") == "Tables"


def test_a_picture_is_shown_at_full_size_and_the_page_comes_back(browser):
    with opened(browser, render_page(long_page()), width=390) as page:
        image = page.locator("img").first
        width = image.evaluate("image => image.naturalWidth")
        assert image.bounding_box()["width"] <= 390
        page.locator("a.enlarge").first.click()
        assert image.bounding_box()["width"] == width
        assert page.locator("figure:target").bounding_box() == {"x": 0, "y": 0, "width": 390, "height": 844}
        page.locator("figure:target a.back").click()
        assert page.locator("figure:target").count() == 0
        assert image.bounding_box()["width"] <= 390


def test_a_short_page_has_no_contents():
    assert "<nav" not in render_page(Page("Short", sections=(Section("One"), Section("Two"))))


def test_tables_of_a_demo_fit_on_a_desk(browser):
    with opened(browser, render_page(episode_page(made_result(*SYNTHETIC_FINDINGS)))) as page:
        boxes = page.locator(".scroll")
        assert boxes.count() > 3
        assert boxes.evaluate_all("boxes => boxes.filter(box => box.scrollWidth > box.clientWidth).length") == 0


BROKEN = {
    "a script error": ("<script>missing()</script>", "missing is not defined"),
    "a request": ("<script>fetch('https://example.org/')</script>", "ERR_|example.org"),
    "a wide box": ("<div style='width: 2000px'>wide</div>", "wide"),
    "no alternative": ("<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw=' width='1' height='1'>", "390 px"),
    "a skipped level": ("<h3>deep</h3>", r"\[1, 3\]"),
    "pale letters": ("<p style='color: #ddd; background: #fff'>pale</p>", "color-contrast"),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_page_is_caught(browser, name):
    part, told = BROKEN[name]
    head = "<!DOCTYPE html><html lang='en'><title>t</title><link rel='icon' href='data:,'>"
    with pytest.raises(AssertionError, match=told):
        check_page(browser, f"{head}<main><h1>t</h1>{part}</main>")


@pytest.fixture(scope="module")
def map_file(tmp_path_factory):
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 24, N_POINTS)
    thumbnails = np.repeat(np.repeat(rng.integers(0, 255, (N_POINTS, 5, 5)), 8, axis=1), 8, axis=2).astype(np.uint8)
    html = projection_page(
        rng.normal(size=(N_POINTS, 2)),
        groups={
            "finding": [f"finding {code:02d} of {LONG}" for code in codes],
            "source": [f"</script><b>{code % 3}" for code in codes],
        },
        paths=[f"films/p{place:05d}.png" for place in range(N_POINTS)],
        thumbnails=thumbnails,
        before=rng.normal(size=(N_POINTS, 2)),
        title="A map of many films",
    )
    assert len(html) < 5_000_000
    file = tmp_path_factory.mktemp("map") / "map.html"
    file.write_text(html, encoding="utf-8")
    return file


@pytest.fixture
def map_page(browser, map_file):
    with opened(browser, map_file, reduced_motion="reduce") as page:
        wait_until(page, "performance.getEntriesByName('painted').length > 0")
        yield page


def place_of(page, path):
    """Zoom in on a film until no other lies on it, by the search and the keyboard; return where it is on the screen."""
    page.fill("#search", path)
    page.press("#search", "Enter")
    page.fill("#search", "")
    page.locator("#points").focus()
    ring, box = page.locator("#ring").bounding_box(), page.locator("#points").bounding_box()
    return ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2, box


def test_a_map_of_5000_films(browser, map_file):
    check_page(browser, map_file)


def test_the_map_is_there_at_once(map_page):
    assert map_page.evaluate("performance.getEntriesByName('painted')[0].startTime") < 3000
    inked = map_page.evaluate("""() => {
      const canvas = document.getElementById("points");
      const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.filter((value, place) => place % 4 === 3 && value > 0).length;
    }""")
    assert inked > 20_000


def test_a_film_shows_itself_under_the_pointer(map_page):
    x, y, _ = place_of(map_page, "p00042")
    map_page.keyboard.press("Escape")
    assert map_page.locator("#tip").text_content() == ""
    map_page.mouse.move(x, y)
    told = map_page.locator("#tip").inner_text()
    assert "films/p00042.png" in told
    assert "source: </script><b>" in told
    assert map_page.locator("#tip canvas").evaluate(
        "film => new Set(film.getContext('2d').getImageData(0, 0, 40, 40).data).size > 5"
    )


def test_keys_step_through_the_films(map_page):
    map_page.locator("#points").focus()
    map_page.keyboard.press("PageDown")
    assert "films/p00000.png" in map_page.locator("#tip").inner_text()
    map_page.keyboard.press("PageDown")
    assert "films/p00001.png" in map_page.locator("#tip").inner_text()
    map_page.keyboard.press("PageUp")
    assert "films/p00000.png" in map_page.locator("#tip").inner_text()
    before = map_page.locator("#ring").bounding_box()
    map_page.keyboard.press("ArrowRight")
    after = map_page.locator("#ring").bounding_box()
    assert 0 < after["x"] - before["x"] < 60
    assert "films/p00000.png" not in map_page.locator("#tip").inner_text()
    assert map_page.locator("#tip").get_attribute("aria-live") == "polite"


def test_groups_are_coloured_and_left_out(map_page):
    rows = map_page.locator("#legend button")
    assert rows.count() == 16  # of 24 findings 15 have a look of their own
    assert "other (9)" in rows.last.inner_text()
    map_page.select_option("#kind", label="source")
    assert rows.count() == 3
    assert "</script><b>0" in rows.all_inner_texts()[0] + rows.all_inner_texts()[1] + rows.all_inner_texts()[2]
    map_page.click("#none")
    assert [rows.nth(place).get_attribute("aria-pressed") for place in range(3)] == ["false"] * 3
    map_page.locator("#points").focus()
    map_page.keyboard.press("PageDown")
    assert map_page.locator("#tip").text_content() == ""
    rows.first.click()
    assert rows.first.get_attribute("aria-pressed") == "true"


def test_search_counts_and_another_layout_moves_the_films(map_page):
    map_page.fill("#search", "p0004")
    wait_until(map_page, "document.getElementById('told').textContent.startsWith('10 of 5,000 paths match')")
    map_page.press("#search", "Enter")
    assert "films/p00040.png" in map_page.locator("#tip").inner_text()
    after = map_page.locator("#ring").bounding_box()
    map_page.select_option("#layout", label="before training")
    map_page.wait_for_timeout(100)
    assert map_page.locator("#ring").bounding_box() != after


FRAMES = """() => new Promise(done => {
  const times = [], canvas = document.getElementById("points"), box = canvas.getBoundingClientRect();
  const send = (name, x, y) => canvas.dispatchEvent(new WheelEvent(name, {
    clientX: box.left + x, clientY: box.top + y, deltaY: times.length % 2 ? 60 : -60, bubbles: true, cancelable: true,
  }));
  const frame = now => {
    times.push(now);
    if (times.length > 60) return done(times.slice(1).map((time, place) => time - times[place]).sort((a, b) => a - b));
    send("wheel", 300, 300);
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""


def test_zoom_and_hover_are_smooth(map_page):
    frames = map_page.evaluate(FRAMES)
    assert frames[len(frames) // 2] < 100  # milliseconds; 17 on an idle machine
    hover = map_page.evaluate("""() => {
      const canvas = document.getElementById("points"), box = canvas.getBoundingClientRect(), began = performance.now();
      for (let place = 0; place < 200; place++) canvas.dispatchEvent(new PointerEvent("pointermove", {
        clientX: box.left + 3 * place, clientY: box.top + 2 * place, pointerType: "mouse", bubbles: true,
      }));
      return (performance.now() - began) / 200;
    }""")
    assert hover < 10


def test_a_finger_taps_and_moves(browser, map_file):
    with opened(browser, map_file, width=390, has_touch=True, is_mobile=True) as page:
        wait_until(page, "performance.getEntriesByName('painted').length > 0")
        x, y, _ = place_of(page, "p00042")
        page.keyboard.press("Escape")
        page.touchscreen.tap(x, y)
        assert "films/p00042.png" in page.locator("#tip").inner_text()


def test_a_map_without_films_and_without_before(browser, tmp_path):
    groups = {"split": ["train", "test"]}
    html = projection_page(np.eye(2), groups=groups, paths=["a", "b"], thumbnails=None, title="Two")
    file = Path(tmp_path / "two.html")
    file.write_text(html, encoding="utf-8")
    with opened(browser, file) as page:
        assert not page.locator("#films-label").is_visible()
        assert not page.locator("#layout-label").is_visible()
        page.locator("#points").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#tip").inner_text().splitlines()[-1] in ("a", "b")
