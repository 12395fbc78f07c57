"""How frequent findings are among unlabelled films that a bank is asked of."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_cxr._html import counts_text
from fewshot_cxr._progress import Bar, tell
from fewshot_cxr.inference.bank.abstaining import UNKNOWN, UNREADABLE
from fewshot_cxr.inference.bank.answering import AskedFilm, asked_films
from fewshot_cxr.inference.bank.bank import SupportBank
from fewshot_cxr.inference.bank.calibrating import EXCHANGEABLE, check_patients_apart, columns_of
from fewshot_cxr.inference.bank.comparing import measure_by
from fewshot_cxr.inference.bank.estimated_prevalence import EstimatedPrevalence, estimate_prevalence
from fewshot_cxr.inference.bank.exemplar_table import ExemplarTable
from fewshot_cxr.inference.bank.gathering import exemplars_of
from fewshot_cxr.inference.bank.scored_films import ScoredFilms
from fewshot_cxr.records import Records

_EXEMPLAR = "exemplar of the bank"


@dataclass(frozen=True)
class FilmPrevalence:
    """What is estimated, and which films took no part.

    Args:
        estimate: of the others.
        left_out: reason -> films.
    """

    estimate: EstimatedPrevalence
    left_out: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.estimate.to_json() | {"left_out": dict(self.left_out)}


def film_prevalence(
    bank: SupportBank,
    patients: Sequence[Sequence[str | Path]],
    *,
    labelled: Records | None = None,
    any_modality: bool = False,
    batch_size: int = 64,
    device: str = "auto",
    seed: int = 0,
    progress: Bar | None = None,
) -> FilmPrevalence:
    """Estimate how frequent each finding is among films, or refuse where they look shifted; see `estimate_prevalence`.

    Films that cannot be read, that are none by their pixels, or that are exemplars take no part, and are counted.

    Args:
        bank: whose findings are counted.
        patients: the unlabelled films of each patient.
        labelled: films of other patients that tell how films of a finding look; None: the exemplars, each patient's
            asked of the others.
        any_modality: take what is no X-ray of the chest by its header, too.
        batch_size: films at a time.
        device: "auto", "cpu", "cuda" or "cuda:N".
        seed: of the resampling.
        progress: called with (films asked, in all).

    Raises:
        ValueError: as `estimate_prevalence`; the encoder was trained on the films that calibrate, or exemplars were
            chosen so that they calibrate nothing.
        FileNotFoundError: no film takes part.
    """
    calibration = (
        _of_exemplars(bank) if labelled is None else _of_films(bank, exemplars_of(bank.own_encoder(), labelled)[0])
    )
    encoder, findings = bank.own_encoder(), bank.grounds.findings
    files = [file for films in patients for file in films]
    codes = np.repeat(np.arange(len(patients)), [len(films) for films in patients]).tolist()
    rows, left_out, n_done = list[tuple[np.ndarray, int, bool]](), Counter[str](), 0
    how = {"batch_size": batch_size, "any_modality": any_modality}
    for films in asked_films(encoder.image_spec, files, measure_by(encoder, device), **how):  # type: ignore[arg-type]
        for film, reason, patient in zip(films, _reasons(bank, films), codes[n_done:], strict=False):
            if film.vector is None or reason not in (None, UNKNOWN):
                left_out[str(reason)] += 1
            else:
                distances = bank.exemplars.decider.distances(film.vector[None])[0].numpy()
                rows.append((distances, patient, reason == UNKNOWN))
        n_done += len(films)
        tell(progress, n_done, len(files))
    if not rows:
        raise FileNotFoundError(f"no film takes part: {counts_text(left_out) or 'there is none'}")
    scores, taken, are_unknown = (np.array(column) for column in zip(*rows, strict=True))
    found = ScoredFilms(findings, scores, taken, is_unknown=are_unknown)
    return FilmPrevalence(estimate_prevalence(calibration, found, seed=seed), dict(sorted(left_out.items())))


def _reasons(bank: SupportBank, films: Sequence[AskedFilm]) -> list[str | None]:
    """Return why each film takes no part; UNKNOWN does."""
    read = [film for film in films if film.vector is not None]
    reasons, found = iter(bank.grounds.reasons(read) if read else []), list[str | None]()
    for film in films:
        reason = UNREADABLE if film.vector is None else next(reasons)
        is_exemplar = film.vector is not None and bool(bank.exemplars.decider.same_film(film.vector).any())
        found.append(_EXEMPLAR if is_exemplar else reason)
    return found


def _of_exemplars(bank: SupportBank) -> ScoredFilms:
    """Return the exemplars, each patient's asked of the others."""
    bank.terms.refuse_trained(bank.table, "exemplars")
    if bank.terms.choice not in EXCHANGEABLE:
        raise ValueError(
            f"exemplars chosen by {bank.terms.choice} are more alike than films to come: name labelled films of other "
            "patients (--data)"
        )
    decider = bank.exemplars.decider
    rows, distances = decider.left_out()
    patients = decider.support.patient_ids[rows]
    return ScoredFilms(decider.findings, distances.numpy(), patients, decider.labels[rows].numpy())


def _of_films(bank: SupportBank, films: ExemplarTable) -> ScoredFilms:
    bank.terms.refuse_trained(films, "labelled films")
    for column in ("patients", "groups", "digests"):
        check_patients_apart(getattr(bank.table, column), getattr(films, column))
    grounds, known = bank.grounds, films.embeddings
    findings = grounds.findings
    labels = columns_of(findings, known, "labelled films")
    are_far = np.zeros(len(films), dtype=bool)
    if grounds.neighbourhood is not None and grounds.thresholds is not None:
        are_far = grounds.neighbourhood.distances(films.features) > grounds.thresholds.unknown_above
    distances = bank.exemplars.decider.distances(films.vectors).numpy()
    return ScoredFilms(findings, distances, known.patient_ids, labels, is_unknown=are_far)
