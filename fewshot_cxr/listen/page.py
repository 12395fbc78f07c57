"""The page that answers a film: the film, what is said of it, and that it is for research, burnt into the pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fewshot_cxr._visible import visible
from fewshot_cxr.inference.bank.answer import Answer
from fewshot_cxr.visualise.font import drawn_letters, font_file

RESEARCH = "RESEARCH, NOT FOR DIAGNOSIS"
NO_PICTURE = "the film cannot be shown"
_FILM, _TEXT, _BAR, _EDGE = 1024, 704, 72, 24  # px
_WHITE, _BRIGHT, _PAPER = 255, 215, 0
_PLAIN, _LARGE, _SMALL = 26, 44, 20  # px of a line of text
_THUMBNAIL = 200
_MOST_FINDINGS, _LONGEST = 10, 300


@dataclass(frozen=True)
class Line:
    """A line of the page's text, before it is broken.

    Args:
        text: in words.
        size_px: of its letters.
        is_bold: whether they are.
    """

    text: str
    size_px: int = _PLAIN
    is_bold: bool = False


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A small picture of an exemplar that an answer names.

    Args:
        picture: uint8, shape (S, S).
        finding: of the exemplar.
        distance: from the film.
    """

    picture: np.ndarray
    finding: str
    distance: float


def answer_lines(answer: Answer, notes: Sequence[str] = ()) -> list[Line]:
    """Return what a page says of a film. No exemplar is named: its path may hold what points to another patient.

    Args:
        answer: of the film.
        notes: what else is to be known of the film.
    """
    lines = [Line(RESEARCH, is_bold=True), Line("")]
    if answer.is_abstained:
        lines += [Line("no answer", _LARGE, True), Line(f"why: {answer.reason}")]
        lines += [Line(answer.details)] if answer.details else []
        lines += [Line(f"nearest finding: {answer.finding}")] if answer.finding else []
    else:
        lines += [Line("nearest finding:"), Line(answer.answer, _LARGE, True)]
    if answer.fitting is not None:
        lines += [Line(""), Line(f"what fits: {', '.join(answer.fitting) or 'no finding'}")]
    lines += _ranked("distance (smaller is closer)", answer.distances, ".4g", largest_first=False)
    lines += _ranked("probability", answer.probabilities, ".3f", largest_first=True)
    told = [f"{name} at the prevalence: PPV {ppv}, NPV {npv}" for name, (ppv, npv) in answer.values.items()]
    told += [f"note: {note}" for note in (*answer.notes, *notes)]
    return lines + ([Line(""), *(Line(one, _SMALL) for one in told)] if told else [])


def draw_page(
    film: np.ndarray | None, lines: Sequence[Line], foot: Sequence[str], thumbnails: Sequence[Thumbnail] = ()
) -> np.ndarray:
    """Draw a page.

    Args:
        film: uint8, shape (H, W); None: it cannot be shown.
        lines: beside the film; what does not fit is left out, and that is said.
        foot: below them, small.
        thumbnails: of exemplars, in a row above the foot.

    Returns:
        uint8, shape (H, W).
    """
    page = Image.new("L", (_FILM + _TEXT, _FILM + 2 * _BAR), _PAPER)
    pen = ImageDraw.Draw(page)
    _draw_film(page, pen, film)
    for top in (0, _FILM + _BAR):
        pen.rectangle((0, top, page.width, top + _BAR - 1), fill=_BRIGHT)
        pen.text((page.width / 2, top + _BAR / 2), RESEARCH, fill=_PAPER, font=_font(_LARGE, True), anchor="mm")
    below = [one for text in foot for one in _broken(Line(text, _SMALL))]
    end = _FILM + _BAR - _EDGE - len(below) * _height(_SMALL)
    for number, line in enumerate(below):
        pen.text((_FILM + _EDGE, end + number * _height(_SMALL)), line.text, fill=_BRIGHT, font=_font(_SMALL, False))
    if thumbnails:
        end -= _THUMBNAIL + 2 * _height(_SMALL)
        _draw_thumbnails(page, pen, thumbnails, end)
    _draw_lines(pen, lines, end - _EDGE)
    return np.asarray(page)


def _draw_film(page: Image.Image, pen: ImageDraw.ImageDraw, film: np.ndarray | None) -> None:
    pen.rectangle((0, _BAR, _FILM - 1, _BAR + _FILM - 1), fill=_PAPER)
    if film is None:
        pen.text((_FILM / 2, _BAR + _FILM / 2), NO_PICTURE, fill=_BRIGHT, font=_font(_PLAIN, False), anchor="mm")
    else:
        height, width = film.shape
        scale = _FILM / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        shown = Image.fromarray(film).resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)
        page.paste(shown, ((_FILM - size[0]) // 2, _BAR + (_FILM - size[1]) // 2))
    # Within the film, too: a viewer may be zoomed into it.
    pen.text(
        (_FILM / 2, _BAR + _EDGE),
        RESEARCH,
        fill=_WHITE,
        stroke_width=3,
        stroke_fill=_PAPER,
        font=_font(_PLAIN, True),
        anchor="ma",
    )


def _draw_thumbnails(page: Image.Image, pen: ImageDraw.ImageDraw, shown: Sequence[Thumbnail], top: int) -> None:
    for number, one in enumerate(shown[: (_TEXT - _EDGE) // (_THUMBNAIL + _EDGE)]):
        left = _FILM + _EDGE + number * (_THUMBNAIL + _EDGE)
        page.paste(Image.fromarray(one.picture).resize((_THUMBNAIL, _THUMBNAIL)), (left, top))
        below = (one.finding, f"distance {one.distance:.4g}")
        for place, text in enumerate(below):
            text = _cut(text, _font(_SMALL, False), _THUMBNAIL)
            pen.text((left, top + _THUMBNAIL + place * _height(_SMALL)), text, fill=_BRIGHT, font=_font(_SMALL, False))


def _draw_lines(pen: ImageDraw.ImageDraw, lines: Sequence[Line], end: int) -> None:
    top = _BAR + _EDGE
    broken = [one for line in lines for one in _broken(line)]
    for number, line in enumerate(broken):
        if top + _height(line.size_px) + _height(_SMALL) > end and number + 1 < len(broken):
            told = f"and {len(broken) - number} more lines"
            pen.text((_FILM + _EDGE, top), told, fill=_BRIGHT, font=_font(_SMALL, False))
            return
        font = _font(line.size_px, line.is_bold)
        pen.text((_FILM + _EDGE, top), line.text, fill=_WHITE if line.is_bold else _BRIGHT, font=font)
        top += _height(line.size_px)


def _ranked(title: str, values: Mapping[str, float], form: str, *, largest_first: bool) -> list[Line]:
    ranked = sorted(values.items(), key=lambda one: -one[1] if largest_first else one[1])
    lines = [Line(f"    {name}: {value:{form}}") for name, value in ranked[:_MOST_FINDINGS]]
    lines += [Line(f"    and {len(ranked) - _MOST_FINDINGS} more")] * (len(ranked) > _MOST_FINDINGS)
    return [Line(""), Line(title), *lines] if lines else []


def _broken(line: Line) -> list[Line]:
    """Break a line where it is wider than the column, at blanks and, where there are none, anywhere."""
    text, font = _drawable(line.text), _font(line.size_px, line.is_bold)
    if not text:
        return [Line("", line.size_px // 2)]
    indent = len(text) - len(text.lstrip())
    lines, start = [], text[:indent]
    for word in text[indent:].split(" "):
        while word:
            space = " " if start.strip() else ""
            if font.getlength(start + space + word) <= _TEXT - 2 * _EDGE:
                start, word = start + space + word, ""
            elif start.strip():
                lines.append(start)
                start = " " * (indent + 4)
            else:
                fits = max(1, len(_cut(start + word, font, _TEXT - 2 * _EDGE)) - len(start))
                lines.append(start + word[:fits])
                start, word = " " * (indent + 4), word[fits:]
    lines += [start] if start.strip() else []
    return [Line(one, line.size_px, line.is_bold) for one in lines]


def _cut(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    text = _drawable(text)
    while text and font.getlength(text) > width:
        text = text[:-1]
    return text


def _drawable(text: str) -> str:
    """Return text with the numbers of those letters that the font has not: boxes would look alike."""
    known = drawn_letters()
    return "".join(letter if ord(letter) in known else f"U+{ord(letter):04X} " for letter in visible(text))[:_LONGEST]


def _height(size_px: int) -> int:
    return round(size_px * 1.35)


@cache
def _font(size_px: int, is_bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_file(is_bold=is_bold)), size_px)
