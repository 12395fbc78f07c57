"""The few films that are shown: which, their heat made once more, and their pictures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from fewshot_cxr.data import CachedFilms
from fewshot_cxr.data.masks import LungMasks
from fewshot_cxr.report import Section
from fewshot_cxr.report.heat_sections import READING, focus_table, sheet_picture
from fewshot_cxr.seeding import generator
from fewshot_cxr.visualise.films import shortened
from fewshot_cxr.visualise.heat import HeatTile
from fewshot_cxr.visualise.style import percent
from fewshot_cxr.workflows.explaining.explainer import Explainer
from fewshot_cxr.workflows.explaining.focus_report import BORDER, LUNGS, FilmFocus, FocusReport, explain_films

Progress = Callable[[int, int], None]
WORST, DRAWN = "worst", "drawn"
_ALL_SHOWN = ""
_BATCH = 32
_LONGEST_NAME = 32  # letters of a finding below a film: with more, no line is left for the decision


@dataclass(frozen=True)
class Choice:
    """A film that is shown, and why: it is among the worst, or was drawn; "" where all films are shown."""

    focus: FilmFocus
    why: str


@dataclass(frozen=True, eq=False)
class ShownFilm:
    """A film with its heat, and for the question "nearest" its exemplar with its own.

    `film` is uint8 (S, S), `heat` float (S, S), `lungs` bool (S, S) or None.
    """

    choice: Choice
    film: np.ndarray
    heat: np.ndarray
    lungs: np.ndarray | None
    exemplar: "ShownExemplar | None" = None


@dataclass(frozen=True, eq=False)
class ShownExemplar:
    """The nearest exemplar of a film, and the heat of what it has in common with it."""

    path: str
    finding: str
    distance: float
    film: np.ndarray
    heat: np.ndarray


def choose_films(films: Sequence[FilmFocus], n_shown: int | None, *, seed: int) -> tuple[Choice, ...]:
    """Choose films to show: half of them the worst, the others drawn, so that the worst are not taken for the rule.

    Args:
        films: worst first.
        n_shown: how many; None takes all of them.
        seed: of the draw.
    """
    if n_shown is None or n_shown >= len(films):
        return tuple(Choice(film, _ALL_SHOWN) for film in films)
    n_worst = -(-n_shown // 2)
    rest = films[n_worst:]
    drawn = sorted(generator(seed, "films that are shown").choice(len(rest), n_shown - n_worst, replace=False).tolist())
    return (*(Choice(film, WORST) for film in films[:n_worst]), *(Choice(rest[row], DRAWN) for row in drawn))


def show_films(
    explainer: Explainer, films: CachedFilms, choices: Sequence[Choice], *, masks: LungMasks | None = None
) -> Iterator[ShownFilm]:
    """Yield chosen films with their heat, a batch in memory at a time.

    Args:
        explainer, films, masks: as for `explain_films`.
        choices: of `choose_films`, of a report on the same films.
    """
    for first in range(0, len(choices), _BATCH):
        some = choices[first : first + _BATCH]
        rows = [choice.focus.row for choice in some]
        images = films.rows(rows)
        decided = explainer.decide(images)
        heat = explainer.heat(images, decided, [choice.focus.finding for choice in some])
        exemplars = explainer.pair_films(decided) if explainer.question == "nearest" else None
        for place, choice in enumerate(some):
            has_mask = masks is not None and bool(masks.has_mask[choice.focus.row])
            lungs = masks.rows([choice.focus.row])[0] if masks is not None and has_mask else None
            other = None
            if exemplars is not None:
                record = exemplars.records[place]
                beside = exemplars.films[place], exemplars.heat[place]
                other = ShownExemplar(record.path, record.finding, float(exemplars.distances[place]), *beside)
            yield ShownFilm(choice, images[place], heat[place], lungs, other)


def tiles_of(shown: ShownFilm, explainer: Explainer) -> list[HeatTile]:
    """Return a film as a tile of a contact sheet, and its exemplar, if it has one, as the next."""
    focus = shown.choice.focus
    words = tile_text(focus, explainer.value_name, explainer.findings)
    caption = f"{shortened(focus.finding, _LONGEST_NAME)}\n{words}\n{shown.choice.why}".rstrip()
    tiles = [HeatTile(shown.film, shown.heat, caption, shown.lungs)]
    if shown.exemplar is not None:
        other = shown.exemplar
        caption = f"nearest exemplar: {other.finding}\n{_file_name(other.path)}, distance {other.distance:#.3g}"
        tiles.append(HeatTile(other.film, other.heat, caption))
    return tiles


def overlay_title(shown: ShownFilm, explainer: Explainer) -> str:
    """Return what stands above the overlay of a film."""
    focus = shown.choice.focus
    return f"{_file_name(focus.path)}: {decision_text(focus, explainer)}; {places_text(focus)}"


def decision_text(focus: FilmFocus, explainer: Explainer) -> str:
    """Return finding, decision and its distance or logit in words."""
    return f"{focus.finding}, {_decided(focus, explainer.findings)}, {explainer.value_name} {focus.value:#.3g}"


def tile_text(focus: FilmFocus, value_name: str, findings: Sequence[str] = ()) -> str:
    """Return the decision and the place of the heat in three short lines.

    Args:
        focus: of the film.
        value_name: what its value is.
        findings: that are told apart: a decision on a film of one of them is right or wrong, on another film neither.
    """
    return f"{_decided(focus, findings)}\n{value_name} {focus.value:#.3g}\n{places_text(focus)}"


def heat_section(
    explainer: Explainer,
    films: CachedFilms,
    *,
    n_shown: int = 8,
    masks: LungMasks | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Section:
    """Measure where the network looks on all films, and show a few of them: a section of a larger page.

    Args:
        explainer: what is asked, of which encoder.
        films: decoded as its encoder takes them, one finding each.
        n_shown: films of the contact sheet, 1 to 24; half the worst, the others drawn.
        masks: of the lungs of these films.
        seed: of the draw.
        progress: called with (films done, films in all).

    Raises:
        ValueError: as for `explain_films`.
    """
    report = with_strangers(explain_films(explainer, films, masks=masks, progress=progress), explainer)
    choices = choose_films(report.films, n_shown, seed=seed)
    tiles = [tile for one in show_films(explainer, films, choices, masks=masks) for tile in tiles_of(one, explainer)]
    return Section(
        "Where the network looks",
        (f"Asked: {explainer.asked_text()}.", *READING, *report.notes),
        (sheet_picture(tiles, caption=shown_text(report, choices, seed)),),
        focus_table(report.summary),
    )


def with_strangers(report: FocusReport, explainer: Explainer) -> FocusReport:
    """Return the report with a note on films of findings that are not told apart: no decision on them is right."""
    findings = [film.finding for film in report.films]
    strangers = explainer.strangers(findings)
    if not strangers:
        return report
    n_films = sum(map(findings.count, strangers))
    note = (
        f"{', '.join(strangers)}: not among the findings that are told apart ({', '.join(explainer.findings)}), so the "
        f"decisions on {n_films:,} films are neither right nor wrong"
    )
    return replace(report, notes=(*report.notes, note))


def shown_text(report: FocusReport, choices: Sequence[Choice], seed: int) -> str:
    """Return in words which films are shown, and what their labels mean.

    Args:
        report: on all films.
        choices: that are shown.
        seed: of the draw.
    """
    worst = "the least heat in the lungs" if LUNGS in report.measures else "the most heat at the border"
    labels = {choice.why for choice in choices}
    if labels == {_ALL_SHOWN}:
        return f"All films are shown, worst first: those with {worst}."
    text = f'"{WORST}": the films with {worst}'
    if DRAWN in labels:
        text += f'; "{DRAWN}": as many of the others, drawn with seed {seed}'
    return text + ("; without a label: all films of the finding, worst first." if _ALL_SHOWN in labels else ".")


def places_text(focus: FilmFocus) -> str:
    """Return the share of the heat in the lungs, or at the border where there is no mask, in words."""
    in_lungs, in_border = focus.shares.get(LUNGS), focus.shares[BORDER]
    if in_border is None:
        return "no heat"
    return f"{percent(in_border)} at border" if in_lungs is None else f"{percent(in_lungs)} in lungs"


def _decided(focus: FilmFocus, findings: Sequence[str]) -> str:
    if focus.decided == focus.finding:
        return "decided rightly"
    decided = shortened(focus.decided, _LONGEST_NAME)
    return f"taken for {decided}" if focus.finding in findings else f"decided {decided}"


def _file_name(path: str) -> str:
    return PurePosixPath(path).name
