"""What is burnt into a page, and that it fits."""

import numpy as np
import pytest

from fewshot_cxr.inference.bank.answer import Answer
from fewshot_cxr.inference.prediction import Exemplar
from fewshot_cxr.listen import page
from fewshot_cxr.listen.page import RESEARCH, Line, Thumbnail, answer_lines, draw_page

FILM = np.random.default_rng(0).integers(0, 255, (300, 200), dtype=np.uint8)
ANSWER = Answer(
    "/secret/film.dcm",
    "effusion",
    "effusion",
    distances={"effusion": 1.0, "normal": 2.0},
    probabilities={"effusion": 0.9, "normal": 0.1},
    fitting=("effusion",),
    exemplars=(Exemplar("JANE/1.png", "effusion", 0.5),),
    notes=("a note",),
)


def texts(answer, notes=()):
    return [line.text for line in answer_lines(answer, notes)]


def test_it_says_the_answer_or_why_there_is_none():
    told = texts(ANSWER, ["a lateral view"])
    assert told[0] == RESEARCH
    assert told[2:4] == ["nearest finding:", "effusion"]
    assert [line.strip() for line in told[8:10]] == ["effusion: 1", "normal: 2"]
    assert told[-2:] == ["note: a note", "note: a lateral view"]
    abstained = texts(ANSWER.abstained("unknown", "too far"))
    assert abstained[2:6] == ["no answer", "why: unknown", "too far", "nearest finding: effusion"]
    assert texts(Answer("film", "", "abstained", "unreadable", "cut short"))[2:] == [
        "no answer",
        "why: unreadable",
        "cut short",
    ]


def test_neither_the_film_nor_an_exemplar_is_named():
    assert not any("secret" in text or "JANE" in text for text in texts(ANSWER))


@pytest.mark.parametrize("film", [FILM, FILM.T, FILM[:1, :1], None])
def test_research_is_burnt_in_whatever_the_film(film):
    drawn = draw_page(film, answer_lines(ANSWER), ["foot"])
    empty = draw_page(film, [], [])
    assert drawn.shape == (page._FILM + 2 * page._BAR, page._FILM + page._TEXT)
    bars = np.concatenate([empty[: page._BAR], empty[-page._BAR :]])
    assert (bars == page._PAPER).any()
    assert (bars == page._BRIGHT).any()
    within = empty[page._BAR + page._EDGE : page._BAR + 2 * page._EDGE, : page._FILM]
    assert (within == page._WHITE).any()
    assert np.array_equal(drawn[:, : page._FILM], empty[:, : page._FILM])


@pytest.mark.parametrize(
    "name", ["x" * 500, "a " * 200, "Ergu\u00df \u0436\u03a9 \u4e2d", "\x1b[31m\n\x00", "\u202ename", " ", ""]
)
def test_every_name_fits_into_its_column(name):
    lines = answer_lines(Answer("film", name, name, distances={name: 1.0, "b": 2.0}), [name])
    broken = [one for line in lines for one in page._broken(line)]
    for one in broken:
        font = page._font(one.size_px, one.is_bold)
        assert font.getlength(one.text) <= page._TEXT - 2 * page._EDGE
        assert one.text.isprintable()
    drawn = draw_page(FILM, lines, ["foot"])
    assert (drawn[page._BAR : -page._BAR, -page._EDGE :] == page._PAPER).all()


def test_more_than_fits_is_left_out_and_said(monkeypatch):
    told = []
    monkeypatch.setattr(page.ImageDraw.ImageDraw, "text", lambda self, place, text, **_: told.append((place[1], text)))
    draw_page(None, [Line(f"line {number}") for number in range(200)], ["the foot"])
    lines = [(top, text) for top, text in told if text.startswith(("line", "and "))]
    assert lines[-1][1] == f"and {200 - (len(lines) - 1)} more lines"
    foot = next(top for top, text in told if text == "the foot")
    assert lines[-1][0] < foot


def test_thumbnails_stand_above_the_foot():
    one = Thumbnail(np.full((64, 64), 133, dtype=np.uint8), "effusion", 0.5)
    drawn = draw_page(None, [], ["foot"], [one] * 5)
    assert (drawn == 133).sum() >= 3 * page._THUMBNAIL**2


def test_letters_that_the_font_lacks_are_told_apart():
    pages = [draw_page(None, answer_lines(Answer("film", name, name)), []) for name in ("\u80ba\u708e", "\u7ed3\u6838")]
    assert (pages[0] != pages[1]).any()
