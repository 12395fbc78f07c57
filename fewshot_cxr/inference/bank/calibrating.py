"""Make a bank's calibration: from its exemplars, so that no film is lost to it, or from films of other patients."""

from collections.abc import Hashable, Iterable, Sequence
from datetime import date

import numpy as np
import torch

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference.bank.calibration import Calibration
from fewshot_cxr.inference.bank.conformal import check_rule, strangeness, worst_of_patients
from fewshot_cxr.inference.bank.coverage import check_level
from fewshot_cxr.inference.deciding import Decider
from fewshot_cxr.inference.support_temperature import temperature_of

EXCHANGEABLE = ("all", "random")
"""Ways to choose exemplars that treat every patient alike, so that those to come are as strange as those chosen."""


def calibrate_on_support(
    decider: Decider, *, level: float = 0.9, chosen_by: str = "all", today: str | None = None
) -> Calibration:
    """Calibrate on the exemplars themselves: each patient's are decided by those of other patients.

    Args:
        decider: of rule `mean_distance` or `prototype`.
        level: wanted share of sets that hold the true finding.
        chosen_by: how the exemplars were chosen among the films that there were; "all" or "random".
        today: YYYY-MM-DD; None: today.

    Raises:
        ValueError: the rule, or the choice of exemplars, needs films kept apart.

    Examples:
        >>> from fewshot_cxr.inference.deciding import Decider
        >>> places = [[0.1 * film] for film in range(9)] + [[5 + 0.1 * film] for film in range(9)]
        >>> decider = Decider(Embeddings(places, ["normal"] * 9 + ["covid19"] * 9))  # each film of a patient of its own
        >>> print(calibrate_on_support(decider, level=0.9).promise())
        covid19, normal: 90 % on average over banks; how far this one lies from it no theorem tells.
        To say "at least 90 %, with 90 % confidence", calibrate on films kept apart, of 22 patients of a finding.
    """
    check_level(level)
    if chosen_by not in EXCHANGEABLE:
        raise ValueError(
            f"exemplars chosen by {chosen_by!r:.60} are more alike than the films to come, so that they calibrate "
            f"nothing: choose them by {' or '.join(EXCHANGEABLE)}, or calibrate on films kept apart"
        )
    check_rule(decider.rule)
    labels, patients = decider.labels.numpy(), decider.support.patient_ids
    return Calibration(
        basis="support",
        date=today or date.today().isoformat(),
        level=level,
        confidence=None,
        temperature=decider.temperature(),
        patients=_counts(decider, labels, patients),
        films=_counts(decider, labels),
        scores=dict.fromkeys(decider.findings, ()),
        n_patients=len(np.unique(patients)),
        pooled=(),
    )


def calibrate_on_films(
    decider: Decider,
    films: Embeddings,
    *,
    level: float = 0.9,
    confidence: float | None = None,
    today: str | None = None,
) -> Calibration:
    """Calibrate on films of patients who have no exemplar, by any rule that decides each film by itself.

    Args:
        decider: with the exemplars.
        films: one finding each; a finding of the bank may have none. `Embeddings` number patients anew, so that
            `check_patients_apart` is asked where their ids are known; here only copies of exemplars are noticed.
        level: wanted share of sets that hold the true finding.
        confidence: wanted share of banks that reach the level, such as 0.9, for which sets grow; None: the average
            over banks is enough.
        today: YYYY-MM-DD; None: today.

    Raises:
        ValueError: the rule decides films together, or the films have another encoder, several findings each, a
            finding that the bank lacks, or copies among the exemplars.

    Examples:
        >>> from fewshot_cxr.inference.deciding import Decider
        >>> decider = Decider(Embeddings([[0.0], [1.0], [5.0], [6.0]], ["normal", "normal", "covid19", "covid19"]))
        >>> apart = Embeddings([[0.1 * film] for film in range(1, 10)], ["normal"] * 9)  # of nine other patients
        >>> calibration = calibrate_on_films(decider, apart)
        >>> calibration.patients, calibration.has_own_threshold("normal"), calibration.has_own_threshold("covid19")
        ({'covid19': 0, 'normal': 9}, True, False)
    """
    check_level(level)
    if confidence is not None:
        check_level(confidence, "confidence")
    if decider.is_transductive:
        raise ValueError(
            f"{decider.rule} decides films together, so that none has a score by itself; take mean_distance"
        )
    labels, patients = _labels(decider, films), films.patient_ids
    exemplars = {vector.tobytes() for vector in decider.support.vectors}
    if n_copies := sum(vector.tobytes() in exemplars for vector in films.vectors):
        raise ValueError(f"{n_copies:,} of the films to calibrate on are exemplars, too: keep films of other patients")
    distances = decider.distances(films.vectors)
    scores = strangeness(distances.numpy())[np.arange(len(labels)), labels]
    own = [_rising(scores[labels == label], patients[labels == label]) for label in range(len(decider.findings))]
    pooled = _rising(scores, patients)
    return Calibration(
        basis="films",
        date=today or date.today().isoformat(),
        level=level,
        confidence=confidence,
        temperature=temperature_of([distances], [torch.from_numpy(labels)]),
        patients=_counts(decider, labels, patients),
        films=_counts(decider, labels),
        scores=dict(zip(decider.findings, own, strict=True)),
        n_patients=len(pooled),
        pooled=pooled,
    )


def check_patients_apart(exemplars: Iterable[Hashable], films: Iterable[Hashable]) -> None:
    """Refuse patients who have both exemplars and films to calibrate on.

    Args:
        exemplars: ids, or their hashes, of the patients of exemplars.
        films: of those of the films, made in the same way.

    Raises:
        ValueError: some are in both; the text says how many, and names none.

    Examples:
        >>> check_patients_apart(["P1", "P2"], ["P3"])
        >>> try:
        ...     check_patients_apart(["P1", "P2"], ["P2", "P3"])
        ... except ValueError as error:
        ...     print(str(error).partition(":")[0])
        1 patient has exemplars in the bank and films to calibrate on, too
    """
    if n_both := len(set(exemplars) & set(films)):
        raise ValueError(
            f"{n_both:,} patient{'s have' if n_both > 1 else ' has'} exemplars in the bank and films to calibrate on, "
            "too: keep the films of other patients apart"
        )


def columns_of(findings: Sequence[str], films: Embeddings, what: str) -> np.ndarray:
    """Return which of the bank's findings each film shows, int64, shape (n,).

    Args:
        findings: of the bank.
        films: one finding each.
        what: what the films are, for the message.

    Raises:
        ValueError: a film shows a finding that the bank lacks.
    """
    names = [films.class_names[index] for index in films.class_ids.tolist()]
    if lacking := sorted(set(names) - set(findings)):
        raise ValueError(f"the bank lacks {', '.join(lacking)}, of which there are {what}: add it first")
    return np.array([findings.index(name) for name in names])


def _labels(decider: Decider, films: Embeddings) -> np.ndarray:
    if films.is_multi_label:
        raise ValueError("films to calibrate on show one finding each; choose findings (--findings)")
    if films.vectors.shape[1] != decider.support.vectors.shape[1]:
        raise ValueError(
            f"films to calibrate on have {films.vectors.shape[1]} numbers, the exemplars "
            f"{decider.support.vectors.shape[1]}: embed both with one encoder"
        )
    return columns_of(decider.findings, films, "films to calibrate on")


def _rising(scores: np.ndarray, patients: np.ndarray) -> tuple[float, ...]:
    return tuple(np.sort(worst_of_patients(scores, patients)).tolist())


def _counts(decider: Decider, labels: np.ndarray, patients: np.ndarray | None = None) -> dict[str, int]:
    """Return how many films each finding has, or how many patients."""
    counts = {}
    for label, name in enumerate(decider.findings):
        rows = labels == label
        counts[name] = int(rows.sum()) if patients is None else len(np.unique(patients[rows]))
    return counts
