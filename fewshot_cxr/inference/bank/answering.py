"""From files to answers: decode, embed, decide, abstain; some films at a time, by whatever runs the encoder."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_cxr.data import DecodingFacts, decode_film, notes_of_films, to_square
from fewshot_cxr.data.film_marks import FilmMarks, film_marks
from fewshot_cxr.data.reading import read_all
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference.bank.abstaining import (
    AMBIGUOUS,
    INVERTED,
    NEGATIVE_SPACE,
    NOT_A_FILM,
    UNKNOWN,
    UNREADABLE,
    Thresholds,
    reason_of,
)
from fewshot_cxr.inference.bank.answer import ABSTAINED, Answer
from fewshot_cxr.inference.bank.calibration import Calibration, PValues
from fewshot_cxr.inference.bank.conformal import SupportConformal, strangeness
from fewshot_cxr.inference.bank.neighbourhood import Neighbourhood
from fewshot_cxr.inference.bank.operating_points import OperatingPoint
from fewshot_cxr.inference.bank.patient_shares import CalledPatients
from fewshot_cxr.inference.bank.ppv import PredictiveValues, predictive_values
from fewshot_cxr.inference.bank.prevalence import complete_prevalence, reweighted
from fewshot_cxr.inference.prediction import Prediction
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.records import Record

_DETAILS = {
    NEGATIVE_SPACE: "one gray fills almost the whole frame",
    INVERTED: "the lungs are white: a negative",
    NOT_A_FILM: "it does not look like a frontal film of the chest",
    UNKNOWN: "it is farther from all exemplars than films of known findings are",
}


@dataclass(frozen=True, eq=False)
class AskedFilm:
    """A film that is asked about: its path and embedding, (dim,); or why it has none.

    An encoder that runs together with the rule gives the distances to all findings and exemplars, too.
    """

    path: str
    vector: np.ndarray | None = None
    features: np.ndarray | None = None
    square: np.ndarray | None = None
    marks: FilmMarks | None = None
    problem: str = ""
    distances: np.ndarray | None = None
    to_exemplars: np.ndarray | None = None


Compare = Callable[[Sequence[AskedFilm], int], tuple[list[Prediction], np.ndarray]]
"""compare(films, n_nearest) -> what is nearest to each film, and its distances to all findings, (n_films, n_way)"""
Measure = Callable[[np.ndarray], Iterable[Mapping[str, Any]]]
"""measure(square films, uint8 (n, S, S)) -> for each film the fields of an `AskedFilm` that an encoder finds"""


@dataclass(frozen=True, eq=False)
class Prevailing:
    """How often findings are where films come from, in the calibration and there, and what a call is worth there."""

    prior: Mapping[str, float]
    prevalence: Mapping[str, float]
    values: Mapping[str, PredictiveValues]

    def on(self, answer: Answer) -> Answer:
        """Return an answer by the prevalence: its probabilities, and PPV and NPV of each finding."""
        if not answer.probabilities:
            return answer
        names = tuple(answer.probabilities)
        shares = np.array([answer.probabilities[name] for name in names])
        found = reweighted(shares, names, self.prior, self.prevalence).tolist()
        values = {name: (_share_text(one.ppv), _share_text(one.npv)) for name, one in self.values.items()}
        return replace(answer, probabilities=dict(zip(names, found, strict=True)), values=values)


@dataclass(frozen=True, eq=False)
class Grounds:
    """What a bank answers on: what decides, and what makes it abstain, as far as it has them.

    Args:
        findings: that it knows, in the order of columns.
        compare: what decides.
        conformal: makes the exemplars' own p-values, where the calibration rests on them.
        calibration: what makes probabilities and sets.
        neighbourhood: the measure of how far a film lies.
        thresholds: from where on that is too far.
        looks_at_pixels: whether the exemplars are films of the chest.
        called: how often each finding is called.
        points: operating points.
    """

    findings: tuple[str, ...]
    compare: Compare
    conformal: Callable[[], SupportConformal]
    calibration: Calibration | None = None
    neighbourhood: Neighbourhood | None = None
    thresholds: Thresholds | None = None
    looks_at_pixels: bool = False
    called: tuple[CalledPatients, ...] = ()
    points: tuple[OperatingPoint, ...] = ()

    @cached_property
    def p_values(self) -> PValues | None:
        """How usual films are among the patients of each finding; None: nothing is calibrated."""
        known = self.calibration
        return None if known is None else known.p_values_by(self.findings, conformal=self.conformal)

    def at_prevalence(self, stated: Mapping[str, float]) -> "Prevailing":
        """Return what a stated prevalence makes of answers.

        Args:
            stated: finding -> prevalence; the others share the rest as in the calibration.

        Raises:
            ValueError: no calibration, or prevalences that cannot be.
        """
        if self.calibration is None:
            raise ValueError("a prevalence reweights probabilities, and the bank has none: calibrate it")
        prior = self.calibration.prior
        whole = complete_prevalence(stated, prior)
        return Prevailing(prior, whole, {one.finding: predictive_values(one, whole) for one in self.called})

    def reasons(self, films: Sequence[AskedFilm]) -> list[str | None]:
        """Return why each film gets no answer, by its pixels and by its distance to all exemplars."""
        are_far = np.zeros(len(films), dtype=bool)
        if self.neighbourhood is not None and self.thresholds is not None:
            features = np.stack([film.features for film in films if film.features is not None])
            are_far = self.neighbourhood.distances(features) > self.thresholds.unknown_above
        found: list[str | None] = []
        for film, is_far in zip(films, are_far.tolist(), strict=True):
            if film.marks is None or not self.looks_at_pixels:
                found.append(UNKNOWN if is_far else None)
            else:
                found.append(reason_of(film.marks, is_far=is_far))
        return found


def asked_films(
    spec: ImageSpec, files: Sequence[str | Path], measure: Measure, *, batch_size: int = 64, any_modality: bool = False
) -> Iterator[list[AskedFilm]]:
    """Yield files decoded and embedded, so many at a time, in their order; one that cannot be read says why.

    Args:
        spec: what the encoder's images are.
        files: of the films.
        measure: the encoder.
        batch_size: films at a time.
        any_modality: take what is no X-ray of the chest by its DICOM header, too.
    """
    decoded = partial(_decoded, spec, any_modality=any_modality)
    for first in range(0, len(files), batch_size):
        paths = [str(path) for path in files[first : first + batch_size]]
        films, facts = list[AskedFilm](), list[tuple[Record, DecodingFacts]]()
        for path, read in zip(paths, read_all(decoded, paths), strict=True):
            if isinstance(read, str):
                films.append(AskedFilm(path, problem=read))
            else:
                films.append(read[0])
                facts.append((Record(path, ()), read[1]))
        squares = [film.square for film in films if film.square is not None]
        found = iter(measure(np.stack(squares)) if squares else ())
        yield [film if film.square is None else replace(film, **next(found)) for film in films]
        for note in notes_of_films(facts):
            warnings.warn(note, stacklevel=2)


def answer_files(
    grounds: Grounds,
    films: Iterable[Sequence[AskedFilm]],
    *,
    never_abstain: bool = False,
    n_nearest: int = 3,
    prevalence: Mapping[str, float] | None = None,
) -> Iterator[Answer]:
    """Yield an answer for each of the films of `asked_films`, in order and in constant memory.

    Args:
        grounds: of the bank.
        films: so many at a time.
        never_abstain: name the nearest finding whatever is to be said against it.
        n_nearest: exemplars that an answer shows.
        prevalence: finding -> share of the patients where the films come from.
    """
    there = None if prevalence is None else grounds.at_prevalence(prevalence)
    for some in films:
        for one in answer_films(grounds, some, n_nearest=n_nearest):
            answer = one if there is None else there.on(one)
            yield answer.forced() if never_abstain else answer


def answer_films(grounds: Grounds, films: Sequence[AskedFilm], *, n_nearest: int = 3) -> list[Answer]:
    """Answer for films that are decoded and embedded, in their order.

    Args:
        grounds: of the bank.
        films: some that could not be read among them.
        n_nearest: exemplars that an answer shows.
    """
    read = [film for film in films if film.vector is not None]
    answers: Iterator[Answer] = iter(())
    if read:
        predictions, distances = grounds.compare(read, n_nearest)
        plain = [_plain(one) for one in predictions]
        reasons = zip(plain, grounds.reasons(read), strict=True)
        told = [one if reason is None else one.abstained(reason, _DETAILS[reason]) for one, reason in reasons]
        told = [_with_points(one, grounds) for one in told]
        answers = iter(_calibrated(told, grounds, read, distances))
    return [_unreadable(film) if film.vector is None else next(answers) for film in films]


def _with_points(answer: Answer, grounds: Grounds) -> Answer:
    if not grounds.points:
        return answer
    names = tuple(answer.distances)
    margins = -strangeness(np.array([list(answer.distances.values())]))[0]
    scores = dict(zip(names, margins.tolist(), strict=True))
    positive = tuple(one.finding for one in grounds.points if one.apply(scores.get(one.finding, float("nan"))))
    return replace(answer, positive=positive)


def _calibrated(
    answers: list[Answer], grounds: Grounds, films: Sequence[AskedFilm], distances: np.ndarray
) -> list[Answer]:
    calibration, findings = grounds.calibration, grounds.findings
    if calibration is None or grounds.p_values is None:
        return answers
    vectors = np.stack([film.vector for film in films if film.vector is not None])
    own = np.array([[one.distances.get(name, np.inf) for name in findings] for one in answers])
    shares = calibration.probabilities(own)
    sets = calibration.sets(grounds.p_values(vectors, distances), findings)
    made = []
    for row, (answer, fitting) in enumerate(zip(answers, sets, strict=True)):
        if answer.notes:  # the film itself is an exemplar: what it promises is of other films
            made.append(answer)
            continue
        named = {} if shares is None else dict(zip(findings, shares[row].tolist(), strict=True))
        made.append(_by_set(replace(answer, probabilities=named, fitting=fitting), calibration.level))
    return made


def _share_text(one: Estimate) -> str:
    if one.mean is None or one.ci95 is None:
        return "unknown"
    return f"{one.mean:.2f} ({one.ci95[0]:.2f} to {one.ci95[1]:.2f})"


def _by_set(answer: Answer, level: float) -> Answer:
    """Return an answer that abstains where several findings fit, or none."""
    fitting = answer.fitting or ()
    if not fitting:
        return answer.abstained(UNKNOWN, f"no finding fits at {level:.0%}")
    if len(fitting) > 1:
        return answer.abstained(AMBIGUOUS, f"{' and '.join(fitting)} fit at {level:.0%}")
    return answer


def _plain(one: Prediction) -> Answer:
    answer = Answer(
        path=one.path,
        finding=one.findings[0],
        answer=one.findings[0],
        distances=one.distances,
        exemplars=one.exemplars,
        notes=one.notes,
    )
    if len(one.findings) > 1:
        return answer.abstained(AMBIGUOUS, f"{' and '.join(one.findings)} are equally near")
    return answer


def _unreadable(film: AskedFilm) -> Answer:
    return Answer(path=film.path, finding="", answer=ABSTAINED, reason=UNREADABLE, details=film.problem)


def _decoded(spec: ImageSpec, path: str, *, any_modality: bool) -> tuple[AskedFilm, DecodingFacts]:
    film = decode_film(path, bit_depth=spec.bit_depth, any_modality=any_modality)
    return AskedFilm(path, square=to_square(film.gray, spec), marks=film_marks(film.gray)), film.facts
