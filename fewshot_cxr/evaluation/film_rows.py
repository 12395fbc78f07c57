"""The films of a result's JSON, read row by row and checked: what `Answers` are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewshot_cxr.evaluation.plain_values import Place, take, text_of
from fewshot_cxr.evaluation.scores import EXEMPLARS, Calibration

Row = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FilmRow:
    """A film in the JSON of a result: `finding` and `predicted` where it shows one finding, `truth` where several."""

    path: str
    patient: int
    probabilities: Row | None
    finding: str = ""
    predicted: tuple[str, ...] = ()
    truth: tuple[int | None, ...] = ()
    log_odds: Row | None = None
    margins: Row | None = None
    has_patient: bool = True


def answer_values(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of `Answers` that the JSON of a result holds.

    Raises:
        ValueError: a part is missing, or is not what it should be; it is named.
    """
    films, findings = take(tuple[FilmRow, ...], value, "films"), take(tuple[str, ...], value, "findings")
    is_exclusive = value["kind"] == "closed_set"
    for row, film in enumerate(films):
        _check_film(film, findings, ("films", row), is_exclusive=is_exclusive)
    values: dict[str, Any] = {"findings": findings, "paths": tuple(film.path for film in films)}
    values["patient_ids"] = [film.patient for film in films]
    values["has_patient"] = [film.has_patient for film in films]
    values["probabilities"] = [film.probabilities for film in films]
    if not is_exclusive:
        values["truth"] = [[np.nan if one is None else one for one in film.truth] for film in films]
        return values
    values["truth"] = [findings.index(film.finding) for film in films]
    if any(row is None for row in values["probabilities"]):
        answered = [film.predicted for film in films]
        values["probabilities"] = [[(name in names) / len(names) for name in findings] for names in answered]
        values["has_probabilities"] = False
    for name in ("log_odds", "margins"):  # files of before they were kept have none
        told = [getattr(film, name) for film in films]
        values[name] = None if any(row is None for row in told) else told
    calibration: Calibration | None = take(Calibration | None, value, "calibration")
    if calibration is not None and calibration.before.basis == EXEMPLARS:
        values["temperature"] = calibration.before.temperature
    types = {"rule": str, "distance": str | None, "is_transductive": bool}
    return values | {name: take(kind, value, name) for name, kind in types.items()}


def _check_film(film: FilmRow, findings: Sequence[str], at: Place, *, is_exclusive: bool) -> None:
    """Refuse a film of a result whose parts do not go together."""
    rows = {name: getattr(film, name) for name in ("probabilities", "log_odds", "margins")}
    if not is_exclusive:
        rows["truth"] = film.truth
    for name, row in rows.items():
        if row is not None and len(row) != len(findings):
            raise ValueError(f"{text_of((*at, name))} has {len(row)} numbers for {len(findings)} findings")
    names = {film.finding, *film.predicted} if is_exclusive else set()
    if not names <= set(findings) or (is_exclusive and not film.predicted):
        raise ValueError(f"{text_of(at)} needs its finding and what was predicted, each among the findings")
