"""Two runs on the same films: does one look less at the border than the other? Paired, film by film."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fewshot_cxr.data import CachedFilms, cache_films
from fewshot_cxr.data.masks import LungMasks
from fewshot_cxr.explain.film_frame import film_frame_spec, in_film_frame
from fewshot_cxr.explain.focus_summary import FocusDifference, compare_focus
from fewshot_cxr.image_spec import BORDER_SHARE
from fewshot_cxr.visualise.heat import HeatTile
from fewshot_cxr.workflows.explaining.explainer import Explainer
from fewshot_cxr.workflows.explaining.focus_report import BORDER, FocusReport, explain_films
from fewshot_cxr.workflows.explaining.shown import Choice, choose_films, tile_text

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class RunFilms:
    """One of two runs: its name, what is asked of it, the films as it takes them, and the lungs of the whole films.

    `masks` lie in the frame of `film_frame_spec`, in which both runs are measured.
    """

    name: str
    explainer: Explainer
    films: CachedFilms
    masks: LungMasks | None = None


@dataclass(frozen=True, eq=False)
class Versus:
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
    n_shown: int = 4,
    seed: int = 0,
    cache_folder: Path | None = None,
    progress: Progress | None = None,
) -> Versus:
    """Measure where two runs look on the same films, in one frame, and test the difference.

    Args:
        first, second: two runs, whose encoders cut the same square out of a film before any border crop.
        n_shown: films whose heat is shown side by side.
        seed: of the draw of these films.
        cache_folder: of decoded films.
        progress: called with (what, films done, films in all).

    Raises:
        ValueError: other films, another crop before the border crop, another question, or masks of one run only.
    """
    _check_pair(first, second)
    reports = []
    shared_crop = max(run.explainer.encoder.image_spec.border_crop for run in (first, second))
    for run in (first, second):
        report = None if progress is None else partial(progress, f"heat of {run.name}")
        reports.append(
            explain_films(run.explainer, run.films, masks=run.masks, shared_crop=shared_crop, progress=report)
        )
    one, other = reports
    patients = [film.patient for film in one.in_order()]
    rows = compare_focus(one.shares(), other.shares(), patients=patients)
    places = _places_inside(shared_crop, tuple(one.inner))
    inner = [{name: report.inner[name] for name in places} for report in (one, other)]
    inner_rows = compare_focus(*inner, patients=patients) if shared_crop else ()
    choices = choose_films(one.films, n_shown, seed=seed)
    pairs = zip(_tiles(first, one, choices, cache_folder), _tiles(second, other, choices, cache_folder), strict=True)
    tiles = tuple(tile for pair in pairs for tile in pair)
    return Versus((first.name, second.name), rows, inner_rows, (one, other), tiles)


def _places_inside(border_crop: float, measures: tuple[str, ...]) -> tuple[str, ...]:
    """Return the measures that have a place inside a border crop: not the border, once that is cut off."""
    return tuple(name for name in measures if name != BORDER or border_crop < BORDER_SHARE)


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
    run: RunFilms, report: FocusReport, choices: tuple[Choice, ...], cache_folder: Path | None
) -> Iterator[HeatTile]:
    """Yield the chosen films, whole, with the heat of a run."""
    rows = [choice.focus.row for choice in choices]
    spec = run.explainer.encoder.image_spec
    whole = cache_films(run.films.records.take(rows), film_frame_spec(spec), folder=cache_folder).rows(range(len(rows)))
    images = run.films.rows(rows)
    decided = run.explainer.decide(images)
    heat = in_film_frame(run.explainer.heat(images, decided, [choice.focus.finding for choice in choices]), spec)
    by_row = {film.row: film for film in report.films}
    for place, row in enumerate(rows):
        own = by_row[row]
        has_mask = run.masks is not None and bool(run.masks.has_mask[row])
        lungs = run.masks.rows([row])[0] if run.masks is not None and has_mask else None
        caption = f"{run.name}\n{own.finding}\n{tile_text(own, report.value_name)}"
        yield HeatTile(whole[place], heat[place], caption, lungs)
