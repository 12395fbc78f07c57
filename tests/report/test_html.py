import io
import re
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_results import GENERALIZED, MULTI_LABEL, NO_PATIENTS, OPEN_RESULT, OVERLAPPING, made_result
from PIL import Image

from fewshot_cxr import report
from fewshot_cxr.inference.prediction import Exemplar, Prediction
from fewshot_cxr.report import (
    Headline,
    Page,
    Picture,
    Section,
    Table,
    accuracy_section,
    calibration_section,
    confusion_section,
    episode_page,
    episodic_headlines,
    figure_png,
    open_set_section,
    prediction_section,
    protocol_facts,
    recall_section,
    render_page,
    samples_section,
    save_figure,
    training_section,
)
from fewshot_cxr.visualise import learning_curves_figure
from fewshot_cxr.visualise.style import contrast_ratio

EVIL = "<script>alert(1)</script>\"'&_$x$"
FINDINGS = ("normal", "peripheral_ground_glass_opacity", EVIL)
FILM = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64).astype(np.uint8)
HISTORY = [{"epoch": 1.0, "loss": 0.9, "val_accuracy": 0.5}, {"epoch": 2.0, "loss": 0.25, "val_accuracy": 0.75}]
RESULT = made_result(*FINDINGS)
PREDICTION = Prediction(
    path=f"films/{EVIL}.png",
    findings=("normal", EVIL),
    distances={"normal": 0.5, EVIL: 0.5, FINDINGS[1]: 0.75},
    exemplars=(Exemplar("a.png", "normal", 0.25), Exemplar("b.png", EVIL, 0.5)),
    notes=("the film itself is among the exemplars: left out",),
)


def full_page():
    return Page(
        title=f"A page about {EVIL}",
        lead=("What was known.", "What arrived.", "What came out."),
        headlines=episodic_headlines(RESULT),
        cautions=("Not for clinical use.",),
        sections=(
            accuracy_section(RESULT),
            recall_section(RESULT),
            confusion_section(RESULT),
            prediction_section(PREDICTION, FILM, [FILM, FILM], true_finding=EVIL),
            training_section(HISTORY),
            samples_section({name: [FILM] * 3 for name in FINDINGS}),
            Section("How this was made", facts=(*protocol_facts(RESULT), ("command", "fscxr " + "x" * 300))),
            Section("A wide table", table=Table(("name", *"abcdefghijkl"), ((EVIL, *["a long cell"] * 12),))),
        ),
    )


@pytest.fixture(scope="module")
def html():
    return render_page(full_page())


class Seen(HTMLParser):
    """Tags with their attributes, and the text outside <style>."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.inside = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside.append(tag)

    def handle_data(self, text):
        if self.inside[-1:] != ["style"]:
            self.text.append(text)

    def of(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="module")
def seen(html):
    return Seen(html)


@pytest.mark.slow
def test_every_text_is_escaped(html, seen):
    assert not seen.of("script")
    assert "<script" not in html
    assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
    shown = "".join(seen.text)
    assert f"A page about {EVIL}" in shown
    assert f"Nearest finding: normal or {EVIL}. Its label says {EVIL}." in shown
    assert any(EVIL in image["alt"] for image in seen.of("img"))


def test_the_page_stands_alone(html, seen):
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[\w+/=]+", "", html))
    images = [image["src"] for image in seen.of("img")] + [source["srcset"] for source in seen.of("source")]
    assert len(images) == 5 + 4  # the sample films are drawn once, for both kinds of page
    assert all(image.startswith(("data:image/png;base64,", "data:image/jpeg;base64,")) for image in images)
    assert not seen.of("script", "iframe", "object", "embed")
    assert all(link["href"].startswith("#") for link in seen.of("a"))
    assert [link["href"] for link in seen.of("link")] == ["data:,"]
    assert len(html) < 5_000_000


def test_headings_alt_texts_and_table_heads_are_there(seen):
    assert [tag for tag, _ in seen.tags if re.fullmatch(r"h[1-6]", tag)] == ["h1"] + ["h2"] * 8
    assert all(len(image["alt"]) > 20 for image in seen.of("img"))
    assert all(int(image["width"]) and int(image["height"]) for image in seen.of("img"))
    assert {head["scope"] for head in seen.of("th")} == {"col", "row"}
    assert seen.of("html") == [{"lang": "en"}]
    ids = [heading["id"] for heading in seen.of("h2")]
    assert len(set(ids)) == 8
    assert {part["aria-labelledby"] for part in seen.of("section", "div") if "aria-labelledby" in part} == set(ids)
    assert all("tabindex" in box for box in seen.of("div") if box.get("class") == "scroll")


def test_the_page_says_what_the_result_says(seen):
    shown = " ".join(" ".join(seen.text).split())
    for fact in ("81.2 %", "95 % over patients: 70.1 to 88.9 %", "62.5 %", "33.3 %", "ab12" * 16):
        assert fact in shown
    assert "where the number would lie with other patients of the same kind" in shown
    assert "accuracy less this, in points: +18.7 (-2.0 to +25.0)" in shown
    assert "the film itself is among the exemplars: left out" in shown
    assert "Not for clinical use." in shown


PAGES = {"generalized": GENERALIZED, "several findings": MULTI_LABEL, "without patients": NO_PATIENTS}
PAGES |= {"open set": OPEN_RESULT, "overlap": OVERLAPPING}


@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize("name", sorted(PAGES))
@pytest.mark.slow
def test_every_kind_of_result_has_a_page(name):
    result = PAGES[name]
    page = episode_page(result, title="T", facts=(("checkpoint", "run"),))
    html = render_page(page)
    shown = " ".join(" ".join(Seen(html).text).split())
    assert len(page.sections) <= 10
    headings = [part.heading for section in page.sections for part in section.parts()]
    assert len(set(headings)) == len(headings)
    assert ("None of these" in headings) == (result.open_set is not None)
    assert ("How far the probabilities may be believed" in headings) == (result.calibration is not None)
    assert ("What was taken for what" in headings) == bool(result.confusion)
    assert "checkpoint" in shown
    assert result.data_hash in shown
    assert ('class="alarm"' in html) == (result is OVERLAPPING)
    assert ("There is none over patients here." in shown) == (result is NO_PATIENTS)
    assert ("95 % over episodes: 80.5 to 82.0 %" in shown) == (result is NO_PATIENTS)


def test_an_alarm_is_red_and_escaped():
    html = render_page(Page("t", alarms=(f"beware {EVIL}",), cautions=("mild",)))
    assert "<script" not in html
    assert html.count('class="alarm"') == 1
    (found,) = re.findall(r"\.alarm \{ background: (#\w+); color: (#\w+);", html)
    assert contrast_ratio(found[0], "#ffffff") > 4.5
    assert found[1] == "#fff"
    assert f"beware {EVIL}" in "".join(Seen(html).text)


def test_a_section_of_what_is_not_there_is_refused():
    with pytest.raises(ValueError, match="the result has no calibration: leave the section out"):
        calibration_section(MULTI_LABEL)
    with pytest.raises(ValueError, match="the result has no open set: no finding is left outside"):
        open_set_section(RESULT)


@pytest.mark.slow
def test_the_same_page_gives_the_same_bytes(html):
    assert render_page(full_page()) == html


def test_an_empty_page_renders():
    seen = Seen(render_page(Page("Nothing yet")))
    assert not seen.of("section", "ul", "img")
    assert "Nothing yet" in seen.text


def test_a_headline_needs_no_note():
    assert "<small>" not in render_page(Page("t", headlines=(Headline("1", "one"),)))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_of_the_page_stand_apart(theme):
    css = (Path(report.__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{([^}]*--[^}]*)\}", css)
    )
    colours = light if theme == "light" else dark
    assert set(light) == set(dark)
    for ground in ("paper", "panel"):
        assert contrast_ratio(colours["ink"], colours[ground]) > 7
        assert contrast_ratio(colours["quiet"], colours[ground]) > 4.5
        assert contrast_ratio(colours["accent"], colours[ground]) > 3


def test_a_picture_without_alt_is_refused():
    with pytest.raises(ValueError, match="alt is empty; say in a sentence what the picture shows"):
        Picture(b"", alt=" ")


def test_a_picture_is_drawn_for_light_and_dark():
    picture = Picture.drawn(partial(learning_curves_figure, HISTORY), alt="curves")
    light, dark = (Image.open(io.BytesIO(png)).convert("L") for png in (picture.image, picture.dark_image))
    assert light.getpixel((1, 1)) > 250
    assert dark.getpixel((1, 1)) < 40
    assert picture.size_px == (light.width // 2, light.height // 2)


def test_fewer_colours_look_the_same():
    figure = learning_curves_figure(HISTORY)
    exact, smaller = figure_png(figure), figure_png(figure, n_colours=256)
    assert len(smaller) < len(exact) / 2
    images = [np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int) for png in (exact, smaller)]
    assert np.abs(images[0] - images[1]).mean() < 1


def test_a_figure_is_saved_whole_and_the_same_each_time(tmp_path):
    figure = learning_curves_figure(HISTORY)
    save_figure(figure, tmp_path / "figures" / "curves.png")
    save_figure(figure, tmp_path / "figures" / "again.PNG")
    files = sorted((tmp_path / "figures").iterdir())
    assert [file.name for file in files] == ["again.PNG", "curves.png"]
    assert files[0].read_bytes() == files[1].read_bytes() == figure_png(figure)
    assert b"atplotlib" not in files[0].read_bytes()


def test_another_form_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"curves.pdf: figures are saved as .png or .svg; for other forms use figure.savefig"
    ):
        save_figure(learning_curves_figure(HISTORY), tmp_path / "curves.pdf")
    assert not list(tmp_path.iterdir())
