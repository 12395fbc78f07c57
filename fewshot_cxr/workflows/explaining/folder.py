"""The folder of an explanation: tables of every film, overlays, contact sheets, charts, and one page."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from fewshot_cxr._csv import csv_text
from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.explain.focus_summary import FocusRow
from fewshot_cxr.report import Page, Section, heat_sections, render_page, save_figure
from fewshot_cxr.unknown_patients import films_text
from fewshot_cxr.visualise.curves import deletion_figure
from fewshot_cxr.visualise.heat import HeatTile, heat_figure, heat_sheet_figure
from fewshot_cxr.visualise.rows import focus_figure
from fewshot_cxr.whole_files import write_json, write_text
from fewshot_cxr.workflows.explaining.erasing import Erasure
from fewshot_cxr.workflows.explaining.explainer import RunFilms
from fewshot_cxr.workflows.explaining.focus_report import FilmFocus, FocusReport
from fewshot_cxr.workflows.explaining.overlays import Choice, choices_text, choose_films, decision_text, overlays
from fewshot_cxr.workflows.explaining.paired_runs import PairedRuns

PAGE = "explain.html"
FOCUS = "focus.csv"
FOCUS_HEAD = ("path", "finding", "source", "patient", "decided")
WRITTEN = (FOCUS, "focus_summary.csv", "focus_summary.json", PAGE, "overlays", "sheets", "versus.png")
_MOST_TILES = 16  # of a sheet: with more, a page grows heavy and its films small
_LONGEST_NAME = 60
_LIBRARIES = ("fewshot_cxr", "torch", "captum")


@dataclass(frozen=True, eq=False)
class Explanation:
    """A run and what was found: the report, and where they were asked for, deletion curves and a second run paired."""

    run: RunFilms
    report: FocusReport
    erasure: Erasure | None = None
    paired: PairedRuns | None = None
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "run": self.run.name,
            "seed": self.seed,
            **self.report.to_json(),
            "deletion": None if self.erasure is None else self.erasure.to_json(),
            "versus": None if self.paired is None else self.paired.to_json(),
            "versions": {name: version(name) for name in _LIBRARIES},
        }


def write_explanation(
    out: Path, explanation: Explanation, *, n_overlays: int | None = 6, progress: Bar | None = None
) -> Path:
    """Write tables, overlays, contact sheets, charts and the page; each file whole or not at all.

    Args:
        out: the folder, made if absent.
        explanation: what was found.
        n_overlays: films of each finding that are drawn, half of them the worst; None takes all.
        progress: called with (overlays done, overlays in all).

    Returns:
        Where the page lies.
    """
    report = explanation.report
    # The page comes last: where it is there, all is, and without it the same may be written again.
    write_text(out / FOCUS, focus_csv(report))
    write_text(out / "focus_summary.csv", summary_csv(report.summary))
    write_json(out / "focus_summary.json", explanation.to_json())
    films: dict[str, list[FilmFocus]] = {name: [] for name in sorted({film.finding for film in report.films})}
    for film in report.films:
        films[film.finding].append(film)
    chosen = {name: choose_films(some, n_overlays, seed=explanation.seed) for name, some in films.items()}
    sheets = _write_films(out, explanation.run, chosen, progress)
    _write_charts(out, explanation)
    choices = [choice for some in chosen.values() for choice in some]
    write_text(out / PAGE, render_page(_page(explanation, choices_text(report, choices, explanation.seed), sheets)))
    return out / PAGE


def focus_csv(report: FocusReport) -> str:
    """Return every film, worst first, as CSV text; what is not known is empty."""
    head = (*FOCUS_HEAD, report.value_name, *report.shares)
    rows = [
        (
            *(film.path, film.finding, film.source, film.patient, film.decided, f"{film.value:.6g}"),
            *("" if film.shares[name] is None else f"{film.shares[name]:.4f}" for name in report.shares),
        )
        for film in report.films
    ]
    return csv_text([head, *rows])


def summary_csv(rows: Sequence[FocusRow]) -> str:
    """Return the means by finding and source as CSV text; what is not known is empty."""
    plain = [row.to_json() for row in rows]
    ends = [row.pop("ci95") or ("", "") for row in plain]
    head = (*plain[0], "low", "high")
    return csv_text([head, *((*row.values(), *pair) for row, pair in zip(plain, ends, strict=True))])


def safe_names(findings: Sequence[str]) -> dict[str, str]:
    """Return a folder's name for each finding: letters, digits, dots and dashes, all different."""
    names: dict[str, str] = {}
    for finding in findings:
        plain = re.sub(r"[^\w.-]+", "_", finding, flags=re.ASCII).strip("._-")[:_LONGEST_NAME] or "finding"
        # Folders "Effusion" and "effusion" are one on some systems.
        taken = [name.lower() for name in names.values()]
        number = 2
        name = plain
        while name.lower() in taken:
            name, number = f"{plain}-{number}", number + 1
        names[finding] = name
    return names


def _write_films(
    out: Path, run: RunFilms, chosen: dict[str, tuple[Choice, ...]], progress: Bar | None
) -> dict[str, list[HeatTile]]:
    """Write overlays and contact sheets; return the tiles of each sheet by its title."""
    names = safe_names(list(chosen))
    n_done, n_all = 0, sum(map(len, chosen.values()))
    sheets: dict[str, list[HeatTile]] = {}
    for finding, choices in chosen.items():
        tiles: list[HeatTile] = []
        n_tiled = 0
        for place, (own, (focus, _)) in enumerate(zip(overlays(run, choices), choices, strict=True), start=1):
            stem = re.sub(r"[^\w.-]+", "_", PurePosixPath(focus.path).stem)[:_LONGEST_NAME]
            for (title, tile), ending in zip(own, ("", "_exemplar"), strict=False):
                figure = heat_figure(tile.film, tile.heat, title=title, lungs=tile.lungs)
                save_figure(figure, out / "overlays" / names[finding] / f"{place:03d}_{stem}{ending}.png")
            if len(tiles) + len(own) <= _MOST_TILES:
                tiles, n_tiled = [*tiles, *(tile for _, tile in own)], n_tiled + 1
            n_done += 1
            tell(progress, n_done, n_all)
        title = f"{finding}: the first {n_tiled} of {len(choices)}, worst first" if n_tiled < len(choices) else finding
        save_figure(heat_sheet_figure(tiles, title=title, theme="dark"), out / "sheets" / f"{names[finding]}.png")
        sheets[title] = tiles
    return sheets


def _write_charts(out: Path, explanation: Explanation) -> None:
    for measure in explanation.report.shares:
        bars = heat_sections.focus_bars([row for row in explanation.report.summary if row.measure == measure])
        save_figure(focus_figure(bars, measure=heat_sections.PLACES[measure]), out / f"focus_{measure}.png")
    erasure, paired = explanation.erasure, explanation.paired
    if erasure is not None and erasure.paths:
        for mode, orders in erasure.curves.items():
            save_figure(deletion_figure(orders, mode=mode, score=erasure.score), out / f"{mode}.png")
    if paired is not None and paired.tiles:
        save_figure(heat_sheet_figure(paired.tiles, theme="dark"), out / "versus.png")


def _page(explanation: Explanation, told: str, sheets: dict[str, list[HeatTile]]) -> Page:
    report, erasure, paired = explanation.report, explanation.erasure, explanation.paired
    explainer = explanation.run.explainer
    worst = [f"{film.path}: {decision_text(film, explainer)}" for film in report.films[:3]]
    sections = [
        heat_sections.focus_section(report.summary, notes=report.notes),
        heat_sections.sheets_section(sheets, paragraphs=(told,)),
    ]
    if paired is not None:
        sections.insert(0, heat_sections.versus_section(paired.rows, paired.inner_rows, paired.names, paired.tiles))
    if erasure is not None:
        sections.append(
            heat_sections.deletion_section(erasure.curves, erasure.gains(), score=erasure.score, fill=erasure.fill)
        )
    facts = {"run": explanation.run.name, "seed": explanation.seed, **report.settings}
    facts["versions"] = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    made = tuple((name.replace("_", " "), _fact(value)) for name, value in facts.items())
    films = films_text(len(report.films), report.n_patients, report.n_films_without_patient)
    return Page(
        "Where the network looks",
        lead=(
            f"{films}. Asked: {explainer.asked_text()}.",
            f"{FOCUS} lists every film, worst first. The worst: {'; '.join(worst)}.",
        ),
        sections=(*sections, Section("How this was made", facts=made)),
    )


def _fact(value: Any) -> str:
    return ", ".join(f"{name} {number}" for name, number in value.items()) if isinstance(value, dict) else str(value)
