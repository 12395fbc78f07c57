"""Two runs on the same films: does one look less at the border than the other? Paired, film by film."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fewshot_cxr._progress import Bars
from fewshot_cxr.data import cache_films, patient_ids
from fewshot_cxr.explain.focus import film_frame_spec, in_film_frame
from fewshot_cxr.explain.focus_summary import FocusDifference, compare_focus
from fewshot_cxr.image_spec import BORDER_SHARE
from fewshot_cxr.visualise.heat import HeatTile
from fewshot_cxr.workflows.explaining.explainer import RunFilms
from fewshot_cxr.workflows.explaining.focus_report import BORDER, FocusReport, explain_films
from fewshot_cxr.workflows.explaining.overlays import Choice, choose_films, tile_text


@dataclass(frozen=True, eq=False)
class PairedRuns:
    """What two runs look at, paired.

    Attributes:
        names: of the runs.
        rows: the share of the heat in each place, second less first. What a crop cuts off has no heat by itself.
        inner_rows: the same of the heat in the part of the film that both runs see, which no crop explains; places that
            lie outside it are left out, and where both see the whole film there are none.
        reports: of each run, in the frame of the whole film.
        tiles: some films with the heat of the first run, then that of the second.
    """

    names: tuple[str, str]
    rows: tuple[FocusDifference, ...]
    inner_rows: tuple[FocusDifference, ...]
    reports: tuple[FocusReport, FocusReport]
    tiles: tuple[HeatTile, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "runs": list(self.names),
            "difference": "second less first",
            "focus": [asdict(row) for row in self.rows],
            "focus_in_what_both_see": [asdict(row) for row in self.inner_rows],
            "settings": [report.settings for report in self.reports],
            "notes": [note for report in self.reports for note in report.notes],
        }


def compare_runs(
    first: RunFilms,
    second: RunFilms,
    *,
    n_films: int = 4,
    seed: int = 0,
    cache_folder: str | Path | None = None,
    progress: Bars | None = None,
) -> PairedRuns:
    """Measure where two runs look on the same films, in one frame, and test the difference.

    Args:
        first: a run, with masks in the frame of `film_frame_spec`.
        second: another, likewise, whose encoder cuts the same square out of a film before any border crop.
        n_films: whose heat is shown side by side.
        seed: of the draw of these films.
        cache_folder: of decoded films.
        progress: called with (what, films done, films in all).

    Raises:
        ValueError: other films, another crop before the border crop, another question, or masks of one run only.
    """
    _check_pair(first, second)
    shared_crop = max(run.explainer.encoder.image_spec.border_crop for run in (first, second))
    reports = []
    for run in (first, second):
        report = None if progress is None else partial(progress, f"heat of {run.name}")
        reports.append(explain_films(run, shared_crop=shared_crop, progress=report))
    one, other = reports
    patients = patient_ids(first.films.records)
    rows = compare_focus(one.shares, other.shares, patients=patients)
    # The border has no place inside a border crop, once it is cut off.
    places = [name for name in one.inner if name != BORDER or shared_crop < BORDER_SHARE] if shared_crop else []
    inner = [{name: report.inner[name] for name in places} for report in reports]
    inner_rows = compare_focus(*inner, patients=patients)
    choices = choose_films(one.films, n_films, seed=seed)
    pairs = zip(_tiles(first, one, choices, cache_folder), _tiles(second, other, choices, cache_folder), strict=True)
    tiles = tuple(tile for pair in pairs for tile in pair)
    return PairedRuns((first.name, second.name), rows, inner_rows, (one, other), tiles)


def _check_pair(first: RunFilms, second: RunFilms) -> None:
    one, other = first.explainer, second.explainer
    if [film.path for film in first.films.records] != [film.path for film in second.films.records]:
        raise ValueError(f"{first.name} and {second.name} are not asked about the same films; give both the same ones")
    for what in ("crop", "top_crop"):
        values = [getattr(run.encoder.image_spec, what) for run in (one, other)]
        if values[0] != values[1]:
            raise ValueError(
                f"{first.name} and {second.name} see different parts of a film ({what} {values[0]} and {values[1]}): "
                "their places cannot be compared; they may differ in border_crop alone (train --border-crop)"
            )
    if (one.value_name, one.question) != (other.value_name, other.question):
        raise ValueError(
            f"{first.name} and {second.name} must answer one question in one way, got {one.question} by "
            f"{one.value_name} and {other.question} by {other.value_name}"
        )


def _tiles(
    run: RunFilms, report: FocusReport, choices: tuple[Choice, ...], cache_folder: str | Path | None
) -> Iterator[HeatTile]:
    """Yield the chosen films, whole, with the heat of a run."""
    rows = [focus.row for focus, _ in choices]
    spec = run.explainer.encoder.image_spec
    whole = cache_films(run.films.records.take(rows), film_frame_spec(spec), folder=cache_folder)
    by_row = {film.row: film for film in report.films}
    for _, _, heat in run.heated(rows, len(rows)):
        for place, own_heat in enumerate(in_film_frame(heat, spec)):
            own = by_row[rows[place]]
            caption = f"{run.name}\n{own.finding}\n{tile_text(own, report.value_name)}"
            yield HeatTile(whole.rows([place])[0], own_heat, caption, run.lungs(own.row))
