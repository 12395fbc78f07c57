"""One pass over films: what was decided, and which share of the heat lies in the lungs, the border, the corners."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewshot_cxr._progress import Auto, Bar, bar_of, tell
from fewshot_cxr.data import patient_ids
from fewshot_cxr.explain.focus import area_shares, focus_shares, in_film_frame, uncropped
from fewshot_cxr.explain.focus_summary import FocusRow, summarise_focus
from fewshot_cxr.patient_ids import patient_codes
from fewshot_cxr.unknown_patients import count_unknown, over_patients
from fewshot_cxr.workflows.explaining.explainer import ATTENTION, Explainer, RunFilms

Shares = Mapping[str, np.ndarray]
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


@dataclass(frozen=True, eq=False)
class FocusReport:
    """Where an encoder looks, film by film and summed up.

    Attributes:
        films: worst first: the smallest share in the lungs or, where no film has a mask, the largest in the border.
        summary: means over all films, each finding and each source, with intervals over patients.
        shares: measure -> the share of the heat of each film, float (N,), in the order in which the films were given;
            NaN where there is none.
        inner: the same of the heat that lies in the middle square; {}: not asked for.
        value_name: what the values of the films are.
        settings: what was asked, of which films; plain JSON values.
        notes: what was left out, and why.
        n_films_without_patient: of the films; each counts as a patient of its own.
    """

    films: tuple[FilmFocus, ...]
    summary: tuple[FocusRow, ...]
    shares: Shares
    inner: Shares
    value_name: str
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    n_films_without_patient: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; the films stand in focus.csv."""
        return {
            **self.settings,
            "n_films": len(self.films),
            "n_patients": self.n_patients,
            "n_films_without_patient": self.n_films_without_patient,
            "focus": [row.to_json() for row in self.summary],
            "notes": list(self.notes),
        }

    @property
    def n_patients(self) -> int:
        """How many patients the films are of."""
        return len({film.patient for film in self.films})


def explain_films(
    run: RunFilms, *, shared_crop: float | None = None, batch_size: int = _BATCH, progress: Bar | Auto | None = "auto"
) -> FocusReport:
    """Decide on every film, map its heat, and measure where it lies; no more than a batch of maps is in memory.

    Args:
        run: what is asked, of which encoder and films.
        shared_crop: measure in the square of the film before `border_crop`, not in that of the encoder's input, so that
            two runs with other crops are measured alike; and the heat inside this border crop by itself, which is what
            both see. The masks of the run are then of a spec without border_crop.
        batch_size: films at a time.
        progress: called with (films done, films in all); "auto": a bar in a terminal or a notebook; None: nothing.

    Raises:
        ValueError: the films are decoded at another size, or a film shows several findings, or one that the question
            "truth" does not tell apart.
    """
    explainer, films, masks, told = run.explainer, run.films, run.masks, bar_of(progress, "heat")
    spec = explainer.encoder.image_spec
    if films.size_px != spec.size_px:
        raise ValueError(
            f"the films are decoded at {films.size_px} px, the encoder takes {spec.size_px}; cache them so"
        )
    decided: list[tuple[str, float]] = []
    parts: dict[str, list[dict[str, np.ndarray]]] = defaultdict(list)
    for rows, found, own_heat in run.heated(range(len(films)), batch_size):
        heat = own_heat if shared_crop is None else in_film_frame(own_heat, spec)
        lungs, has_lungs = (None, None) if masks is None else (masks.rows(rows), masks.has_mask[rows])
        frame = None if shared_crop is None else spec
        parts["shares"].append(focus_shares(heat, lungs, has_lungs=has_lungs))
        parts["areas"].append(area_shares(heat.shape, lungs, has_lungs=has_lungs, spec=frame))
        if shared_crop is not None:
            inner = heat * uncropped(spec.size_px, shared_crop)
            parts["inner"].append(focus_shares(inner, lungs, has_lungs=has_lungs))
        values = found.values.gather(1, found.ranked[:, :1]).flatten().tolist()
        names = [explainer.findings[class_id] for class_id in found.class_ids.tolist()]
        decided += zip(names, values, strict=True)
        tell(told, rows[-1] + 1, len(films))
    return _report(run, decided, *(_joined(parts[name]) for name in ("shares", "areas", "inner")))


def _joined(parts: list[dict[str, np.ndarray]]) -> Shares:
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}


def _report(
    run: RunFilms, decided: list[tuple[str, float]], shares: Shares, areas: Shares, inner: Shares
) -> FocusReport:
    explainer, records = run.explainer, run.films.records
    patients = patient_ids(records)
    numbers = patient_codes(patients).tolist()
    sources = [film.source or "" for film in records]
    findings = [film.finding for film in records]
    summary = summarise_focus(shares, areas, findings=findings, sources=sources, patients=patients)
    films = []
    for row, (path, (name, value)) in enumerate(zip((film.path for film in records), decided, strict=True)):
        own = {measure: None if np.isnan(of_all[row]) else float(of_all[row]) for measure, of_all in shares.items()}
        films.append(FilmFocus(row, path, findings[row], sources[row], numbers[row], name, value, own))
    settings = explainer.settings() | {"data_hash": records.data_hash}
    n_unknown = count_unknown(records)
    unknown = [f"intervals are {over_patients(n_unknown, len(films))}"] if n_unknown else []
    notes = (*unknown, *_notes(explainer, shares, findings))
    ordered = tuple(sorted(films, key=_badness))
    return FocusReport(ordered, summary, shares, inner, explainer.value_name, settings, notes, n_unknown)


def _badness(film: FilmFocus) -> tuple[bool, float, str]:
    """Return a key that puts the worst film first, and films without a share last."""
    in_lungs, in_border = film.shares.get(LUNGS), film.shares[BORDER]
    if in_border is None:
        return True, 0.0, film.path
    has_no_mask = LUNGS in film.shares and in_lungs is None
    # The last digits move with the batch size: films that differ by these alone are in order of their paths.
    return has_no_mask, round(-in_border if in_lungs is None else in_lungs, _DIGITS), film.path


def _notes(explainer: Explainer, shares: Shares, findings: list[str]) -> Iterator[str]:
    cold = int(np.isnan(shares[BORDER]).sum())
    if cold:
        yield f"{cold} of {len(shares[BORDER])} films have no positive heat: they count in no share"
    if LUNGS in shares and (n_bare := int(np.isnan(shares[LUNGS]).sum()) - cold) > 0:
        yield f"{n_bare} films have no lung mask: they count in no share of the lungs"
    if explainer.method == ATTENTION:
        yield "attention maps say what the network weighs, whatever the finding: the question plays no part"
    if explainer.named_finding is not None:
        yield f"every map is of {explainer.named_finding}, whatever was decided"
    strange = sorted(set(findings) - set(explainer.findings))
    if strange:
        yield (
            f"{', '.join(strange)}: not among the findings that are told apart ({', '.join(explainer.findings)}), so "
            f"the decisions on {sum(map(findings.count, strange)):,} films are neither right nor wrong"
        )
