"""One pass over films: what was decided, and which share of the heat lies in the lungs, the border, the corners."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fewshot_cxr.data import CachedFilms, patient_groups
from fewshot_cxr.data.masks import LungMasks
from fewshot_cxr.explain.film_frame import in_film_frame, uncropped
from fewshot_cxr.explain.focus import area_shares, focus_shares
from fewshot_cxr.explain.focus_summary import FocusRow, summarise_focus
from fewshot_cxr.records import Records
from fewshot_cxr.workflows.explaining.explainer import ATTENTION, OF_A_FINDING, Explainer

Progress = Callable[[int, int], None]
LUNGS, BORDER = "lungs", "border"
_BATCH = 64
_DIGITS = 4


@dataclass(frozen=True)
class FilmFocus:
    """One film: its row among the films, what is known of it, what was decided, and the shares of its heat.

    `value` is the distance to (or logit of) the decided finding; `patient` a number that stands for the patient in this
    report alone; `shares` are 0..1, None where there is no heat or no mask.
    """

    row: int
    path: str
    finding: str
    source: str
    patient: int
    decided: str
    value: float
    shares: dict[str, float | None]


@dataclass(frozen=True)
class FocusReport:
    """Where an encoder looks, film by film and summed up.

    Attributes:
        films: worst first: the smallest share in the lungs or, where no film has a mask, the largest in the border.
        summary: means over all films, each finding and each source, with intervals over patients.
        measures: the shares that there are.
        settings: what was asked, of which films; plain JSON values.
        notes: what was left out, and why.
        inner: measure -> the share of the heat that lies in the middle square, float (N,), in the order in which the
            films were given; {}: not asked for.
    """

    films: tuple[FilmFocus, ...]
    summary: tuple[FocusRow, ...]
    measures: tuple[str, ...]
    value_name: str
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    inner: Mapping[str, np.ndarray] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; the films stand in focus.csv."""
        return {
            **self.settings,
            "n_films": len(self.films),
            "n_patients": len({film.patient for film in self.films}),
            "focus": [row.to_json() for row in self.summary],
            "notes": list(self.notes),
        }

    def in_order(self) -> list[FilmFocus]:
        """Return the films in the order in which they were given."""
        return sorted(self.films, key=lambda film: film.row)

    def shares(self) -> dict[str, np.ndarray]:
        """Return each measure as float (N,) in the order in which the films were given; NaN where there is none."""
        films = self.in_order()
        return {name: np.array([film.shares[name] for film in films], dtype=float) for name in self.measures}


def explain_films(
    explainer: Explainer,
    films: CachedFilms,
    *,
    masks: LungMasks | None = None,
    shared_crop: float | None = None,
    batch_size: int = _BATCH,
    progress: Progress | None = None,
) -> FocusReport:
    """Decide on every film, map its heat, and measure where it lies; no more than a batch of maps is in memory.

    Args:
        explainer: what is asked, of which encoder.
        films: decoded as its encoder takes them, one finding each.
        masks: of the lungs of these films, in the frame that is measured.
        shared_crop: measure in the square of the film before `border_crop`, not in that of the encoder's input, so that
            two runs with other crops are measured alike; and the heat inside this border crop by itself, which is what
            both see. `masks` are then of a spec without border_crop.
        batch_size: films at a time.
        progress: called with (films done, films in all).

    Raises:
        ValueError: the films are decoded at another size, or a film shows several findings, or one that the question
            "truth" does not tell apart.
    """
    spec = explainer.encoder.image_spec
    if films.size_px != spec.size_px:
        raise ValueError(
            f"the films are decoded at {films.size_px} px, the encoder takes {spec.size_px}; cache them so"
        )
    truths = [film.finding for film in films.records]
    decided: list[str] = []
    values: list[np.ndarray] = []
    shares: list[dict[str, np.ndarray]] = []
    areas: list[dict[str, np.ndarray]] = []
    inner: list[dict[str, np.ndarray]] = []
    for rows in _batches(len(films), batch_size):
        images = films.rows(rows)
        found = explainer.decide(images)
        heat = explainer.heat(images, found, [truths[row] for row in rows])
        heat = heat if shared_crop is None else in_film_frame(heat, spec)
        lungs, has_lungs = (None, None) if masks is None else (masks.rows(rows), masks.has_mask[rows])
        shares.append(focus_shares(heat, lungs, has_lungs=has_lungs))
        areas.append(area_shares(heat.shape, lungs, has_lungs=has_lungs, spec=None if shared_crop is None else spec))
        if shared_crop is not None:
            inner.append(focus_shares(heat * uncropped(spec.size_px, shared_crop), lungs, has_lungs=has_lungs))
        chosen = found.class_ids.cpu().numpy()
        values.append(np.take_along_axis(found.values.cpu().numpy(), chosen[:, None], axis=1)[:, 0])
        decided += [explainer.findings[class_id] for class_id in chosen]
        if progress is not None:
            progress(int(rows[-1]) + 1, len(films))
    joined = {name: np.concatenate([part[name] for part in shares]) for name in shares[0]}
    flat = {name: np.concatenate([part[name] for part in areas]) for name in areas[0]}
    report = _report(explainer, films.records, decided, np.concatenate(values), joined=joined, areas=flat)
    return replace(report, inner={name: np.concatenate([part[name] for part in inner]) for name in joined if inner})


def _batches(n_films: int, batch_size: int) -> Iterator[np.ndarray]:
    for first in range(0, n_films, batch_size):
        yield np.arange(first, min(first + batch_size, n_films))


def _report(
    explainer: Explainer,
    records: Records,
    decided: list[str],
    values: np.ndarray,
    *,
    joined: dict[str, np.ndarray],
    areas: dict[str, np.ndarray],
) -> FocusReport:
    patients = patient_groups(records)
    summary = summarise_focus(
        joined,
        areas,
        findings=[film.finding for film in records],
        sources=[film.source or "" for film in records],
        patients=patients.tolist(),
    )
    films = [
        FilmFocus(
            row=row,
            path=film.path,
            finding=film.finding,
            source=film.source or "",
            patient=int(patients[row]),
            decided=decided[row],
            value=float(values[row]),
            shares={name: _known(of_all[row]) for name, of_all in joined.items()},
        )
        for row, film in enumerate(records)
    ]
    settings = explainer.settings() | {"data_hash": records.data_hash}
    notes = tuple(_notes(explainer, joined))
    ordered = tuple(sorted(films, key=_badness))
    return FocusReport(ordered, summary, tuple(joined), explainer.value_name, settings, notes)


def _known(share: float) -> float | None:
    return None if np.isnan(share) else float(share)


def _badness(film: FilmFocus) -> tuple[bool, float, str]:
    """Return a key that puts the worst film first, and films without a share last."""
    in_lungs, in_border = film.shares.get(LUNGS), film.shares[BORDER]
    if in_border is None:
        return True, 0.0, film.path
    has_no_mask = LUNGS in film.shares and in_lungs is None
    # The last digits move with the batch size: films that differ by these alone are in order of their paths.
    return has_no_mask, round(-in_border if in_lungs is None else in_lungs, _DIGITS), film.path


def _notes(explainer: Explainer, shares: dict[str, np.ndarray]) -> Iterator[str]:
    cold = int(np.isnan(shares[BORDER]).sum())
    if cold:
        yield f"{cold} of {len(shares[BORDER])} films have no positive heat: they count in no share"
    if LUNGS in shares and (n_bare := int(np.isnan(shares[LUNGS]).sum()) - cold) > 0:
        yield f"{n_bare} films have no lung mask: they count in no share of the lungs"
    if explainer.method == ATTENTION:
        yield "attention maps say what the network weighs, whatever the finding: the question plays no part"
    if explainer.question.startswith(OF_A_FINDING):
        yield f"every map is of {explainer.question.removeprefix(OF_A_FINDING)}, whatever was decided"
