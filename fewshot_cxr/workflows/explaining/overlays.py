"""The few films that are looked at: which, their heat made once more, and their pictures."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from fewshot_cxr._progress import Bar
from fewshot_cxr.report import Section
from fewshot_cxr.report.heat_sections import READING, focus_table, sheet_picture
from fewshot_cxr.seeding import generator
from fewshot_cxr.visualise.films import shortened
from fewshot_cxr.visualise.heat import HeatTile
from fewshot_cxr.visualise.text import percent
from fewshot_cxr.workflows.explaining.explainer import Explainer, RunFilms
from fewshot_cxr.workflows.explaining.focus_report import BORDER, LUNGS, FilmFocus, FocusReport, explain_films

Choice = tuple[FilmFocus, str]  # a film, and why it is looked at: WORST, SAMPLED, or "" where all films are
Overlay = tuple[str, HeatTile]  # what stands above a film alone; the film with its words below it on a sheet

WORST, SAMPLED = "worst", "drawn"
_BATCH = 32
_LONGEST_NAME = 32  # letters of a finding below a film: with more, no line is left for the decision


def choose_films(films: Sequence[FilmFocus], n_films: int | None, *, seed: int) -> tuple[Choice, ...]:
    """Choose films to look at: half of them the worst, the others drawn, so that the worst are not taken for the rule.

    Args:
        films: worst first.
        n_films: how many; None takes all of them.
        seed: of the draw.
    """
    if n_films is None or n_films >= len(films):
        return tuple((film, "") for film in films)
    n_worst = -(-n_films // 2)
    rest = films[n_worst:]
    sampled = sorted(generator(seed, "films that are shown").choice(len(rest), n_films - n_worst, replace=False))
    return (*((film, WORST) for film in films[:n_worst]), *((rest[row], SAMPLED) for row in sampled))


def overlays(run: RunFilms, choices: Sequence[Choice]) -> Iterator[list[Overlay]]:
    """Yield each chosen film with its heat, and for the question "nearest" its exemplar with its own as a second.

    Args:
        run: that is explained.
        choices: of `choose_films`, of a report on it.
    """
    explainer, left = run.explainer, iter(choices)
    for rows, decided, heat in run.heated([focus.row for focus, _ in choices], _BATCH):
        exemplars = explainer.nearest_exemplars(decided) if explainer.question == "nearest" else []
        for place, row in enumerate(rows):
            focus, why = next(left)
            title = f"{_file_name(focus.path)}: {decision_text(focus, explainer)}; {_places_text(focus)}"
            words = tile_text(focus, explainer.value_name, explainer.findings)
            caption = f"{shortened(focus.finding, _LONGEST_NAME)}\n{words}\n{why}".rstrip()
            own = [(title, HeatTile(decided.films[place], heat[place], caption, run.lungs(row)))]
            for record, film, its_heat, distance in exemplars[place : place + 1]:
                name = _file_name(record.path)
                title = f"Nearest exemplar of it: {name}, {record.finding}, distance {distance:#.3g}"
                caption = f"nearest exemplar: {record.finding}\n{name}, distance {distance:#.3g}"
                own.append((title, HeatTile(film, its_heat, caption)))
            yield own


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
    return f"{_decided(focus, findings)}\n{value_name} {focus.value:#.3g}\n{_places_text(focus)}"


def heat_section(run: RunFilms, *, n_films: int = 8, seed: int = 0, progress: Bar | None = None) -> Section:
    """Measure where the network looks on all films, and show a few of them: a section of a larger page.

    Args:
        run: what is asked, of which encoder and films.
        n_films: of the contact sheet, 1 to 24; half the worst, the others drawn.
        seed: of the draw.
        progress: called with (films done, films in all).

    Raises:
        ValueError: as for `explain_films`.
    """
    report = explain_films(run, progress=progress)
    choices = choose_films(report.films, n_films, seed=seed)
    tiles = [tile for one in overlays(run, choices) for _, tile in one]
    return Section(
        "Where the network looks",
        (f"Asked: {run.explainer.asked_text()}.", *READING, *report.notes),
        (sheet_picture(tiles, caption=choices_text(report, choices, seed)),),
        folded=(Section("The shares of the heat, by finding and source", table=focus_table(report.summary)),),
    )


def choices_text(report: FocusReport, choices: Sequence[Choice], seed: int) -> str:
    """Return in words which films are looked at, and what their labels mean.

    Args:
        report: on all films.
        choices: of `choose_films`.
        seed: of the draw.
    """
    worst = "the least heat in the lungs" if LUNGS in report.shares else "the most heat at the border"
    labels = {why for _, why in choices}
    if labels == {""}:
        return f"All films are shown, worst first: those with {worst}."
    text = f'"{WORST}": the films with {worst}'
    if SAMPLED in labels:
        text += f'; "{SAMPLED}": as many of the others, drawn with seed {seed}'
    return text + ("; without a label: all films of the finding, worst first." if "" in labels else ".")


def _places_text(focus: FilmFocus) -> str:
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
