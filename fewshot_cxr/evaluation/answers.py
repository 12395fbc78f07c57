"""What a classifier said of each finding of each film, beside what the film shows: the input of an evaluation."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from fewshot_cxr._checks import MOST_JUDGED, check_few_findings
from fewshot_cxr._html import counts_table, facts_text, html_table
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation.film_rows import answer_values
from fewshot_cxr.evaluation.shown import answers_facts
from fewshot_cxr.metrics import tie_credits
from fewshot_cxr.patient_ids import known_patients, patient_codes

_SUM_TOLERANCE = 1e-6
_NEAR_CERTAIN = 1e-9
_PRESENT = 0.5  # of several findings, one is taken for present from this probability on


@dataclass(frozen=True, eq=False, kw_only=True)
class Answers:
    """One row per film, one column per finding. After construction findings are sorted, and films by path.

    Films of one finding each are the exclusive case: one finding of a row is true, and the probabilities of a row add
    up to 1. Where films may show several findings, each is answered for itself.

    Args:
        findings: distinct names; of all that can be answered.
        truth: 1 the film shows it, 0 it does not, NaN nobody looked for it; shape (N, n_findings). Of films of one
            finding each also the index of it among `findings`, whole numbers, shape (N,).
        probabilities: of each finding, 0..1, shape (N, n_findings); where only decisions are known, their credits.
        paths: N texts, each film's own.
        patient_ids: N ids as for `Embeddings`; None: each film is its own patient.
        is_exclusive: whether the films show one finding each; None: they do where `truth` has the shape (N,).
        has_probabilities: False where only decisions are known.
        log_odds: of the probabilities, shape (N, n_findings), finite: they tell apart what rounds to one probability.
            None: not known.
        margins: of films that were decided by distances: the distance to the nearest other finding less that to this
            one, shape (N, n_findings), finite. None: no distances decided.
        temperature: of the distances in the probabilities, fitted on the exemplars; None: not fitted.
        rule: what decided.
        distance: what the rule measured with, if it did.
        is_transductive: whether an answer depends on the other films asked.
        notes: what a reader of the result should know.
        has_patient: N booleans, as for `Embeddings`; None: where the id of the patient says so.

    After construction the tables are float64 (N, n_findings), `is_exclusive` is a bool, and `patient_ids` int64 (N,),
    patients numbered by their first film. Two are equal that say the same of the same films.

    Raises:
        ValueError: shapes do not fit, a finding or a film occurs twice, a table holds another value, or there are more
            than 256 findings.

    Examples:
        >>> said = [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]]
        >>> told = Answers(findings=("normal", "covid19"), truth=[0, 0, 1], probabilities=said, paths=("1", "2", "3"))
        >>> told.findings, told.credits.tolist()  # the second film is a tie
        (('covid19', 'normal'), [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    """

    findings: tuple[str, ...]
    truth: Any
    probabilities: Any
    paths: tuple[str, ...]
    patient_ids: Any = None
    is_exclusive: bool | None = None
    has_probabilities: bool = True
    log_odds: Any = None
    margins: Any = None
    temperature: float | None = None
    rule: str = "classifier"
    distance: str | None = None
    is_transductive: bool = False
    notes: tuple[str, ...] = ()
    has_patient: Any = None

    def __post_init__(self) -> None:
        findings, paths = tuple(self.findings), tuple(map(str, self.paths))
        check_few_findings(findings, MOST_JUDGED, "an evaluation")
        patients, has_patient = known_patients(len(paths), self.patient_ids, self.has_patient)
        if not paths or not findings or len(patients) != len(paths) or len(set(findings)) != len(findings):
            raise ValueError(
                f"{len(paths)} films, {len(patients)} patient ids and the findings {', '.join(findings) or 'none'}: "
                "one film or more, an id for each, and distinct findings are needed"
            )
        truth, is_index = np.asarray(self.truth), np.ndim(self.truth) == 1
        is_exclusive = is_index if self.is_exclusive is None else self.is_exclusive
        tables = {
            "probabilities": np.asarray(self.probabilities, dtype=np.float64),
            "truth": _one_each(truth, len(findings)) if is_index else truth.astype(np.float64),
        }
        for name in ("log_odds", "margins"):
            if getattr(self, name) is not None:
                tables[name] = np.asarray(getattr(self, name), dtype=np.float64)
        for name, table in tables.items():
            if table.shape != (len(paths), len(findings)):
                raise ValueError(
                    f"{name} must have a row per film and a column per finding, {(len(paths), len(findings))}, got "
                    f"{table.shape}"
                )
        _check_tables(tables, paths, findings, is_exclusive)
        columns = np.argsort(findings)
        tables = {name: table[:, columns] for name, table in tables.items()}
        # Films of different findings may go by one name, such as 1.png in two folders.
        marks = tables["truth"].argmax(axis=1).tolist() if is_exclusive else [0] * len(paths)
        rows = sorted(range(len(paths)), key=lambda row: (paths[row], marks[row]))
        twice = [paths[b] for a, b in pairwise(rows) if (paths[a], marks[a]) == (paths[b], marks[b])]
        if twice:
            raise ValueError(f"film {twice[0]} is there twice; each film must be one row")
        values: dict[str, Any] = {name: np.ascontiguousarray(table[rows]) for name, table in tables.items()}
        values["findings"] = tuple(findings[column] for column in columns)
        values["patient_ids"], values["has_patient"] = patient_codes(patients[rows]), has_patient[rows]
        values |= {"paths": tuple(paths[row] for row in rows), "is_exclusive": is_exclusive}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return facts_text("Answers", answers_facts(self))

    def _repr_html_(self) -> str:
        counts = np.eye(len(self.findings))[self.true_ids].T @ self.credits if self.is_exclusive else []
        return html_table(answers_facts(self), caption="Answers") + counts_table(self.findings, counts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Answers) and self._facts() == other._facts()

    def _facts(self) -> list[Any]:
        values = [getattr(self, item.name) for item in fields(self) if item.name != "notes"]
        return [value.tobytes() if isinstance(value, np.ndarray) else value for value in values]

    @cached_property
    def true_ids(self) -> np.ndarray:
        """Index of the finding of each film of one finding, int64, shape (N,)."""
        return np.asarray(self.truth.argmax(axis=1))

    @cached_property
    def credits(self) -> np.ndarray:
        """Share of the decision that each finding gets, float64, shape (N, n_findings).

        Of films of one finding each the nearest or likeliest gets it, and k that tie get 1/k each. Of several findings
        each is taken for present at a probability of 0.5 or more.
        """
        if not self.is_exclusive:
            return np.asarray(self.probabilities >= _PRESENT, dtype=np.float64)
        decisive = self.probabilities if self.margins is None else self.margins
        credits: np.ndarray = tie_credits(torch.from_numpy(-decisive)).numpy()
        return credits

    @cached_property
    def data_hash(self) -> str:
        """The films, what they show and which are of one patient (`films_hash`); what is not stated does not count."""
        shown = ["|".join(self.findings[index] for index in np.flatnonzero(row == 1).tolist()) for row in self.truth]
        return films_hash(self.paths, shown, self.patient_ids)

    @property
    def ranking_scores(self) -> np.ndarray:
        """Order of the films for each finding, float64, shape (N, n_findings), larger is more so.

        The margins of distances; else the log-odds, or where they are not known the probability; where that of films of
        one finding each is 1 but for rounding, what is left for the other findings tells the films apart.
        """
        if self.margins is not None:
            return np.asarray(self.margins)
        if self.log_odds is not None or not self.is_exclusive:
            return np.asarray(self.probabilities if self.log_odds is None else self.log_odds)
        others = np.stack([np.delete(self.probabilities, c, axis=1).sum(axis=1) for c in range(len(self.findings))], 1)
        with np.errstate(divide="ignore"):
            scores: np.ndarray = np.where(others < _NEAR_CERTAIN, -np.log(others), self.probabilities)
        return scores

    def films_json(self) -> list[dict[str, Any]]:
        """Return a row of plain values per film, as the JSON of a result holds them."""
        truth, said = self.truth.tolist(), self.probabilities.tolist()
        films = list(zip(self.paths, self.patient_ids.tolist(), strict=True))
        unknown = [{} if is_known else {"has_patient": False} for is_known in self.has_patient.tolist()]
        if not self.is_exclusive:
            shown = [[None if one != one else int(one) for one in row] for row in truth]
            return [
                {"path": path, "patient": patient, "truth": shown[row], "probabilities": said[row], **unknown[row]}
                for row, (path, patient) in enumerate(films)
            ]
        none = [None] * len(films)
        ranked, apart = (none if one is None else one.tolist() for one in (self.log_odds, self.margins))
        return [
            {
                "path": path,
                "finding": self.findings[truth[row].index(1)],
                "predicted": [self.findings[index] for index in np.flatnonzero(self.credits[row] > 0).tolist()],
                "probabilities": said[row] if self.has_probabilities else None,
                "patient": patient,
                "log_odds": ranked[row],
                "margins": apart[row],
                **unknown[row],
            }
            for row, (path, patient) in enumerate(films)
        ]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Answers":
        """Rebuild from the JSON of a result; it says `patient` of a film by a number, which is no patient's id."""
        return cls(**answer_values(value))


def Decisions(*, true_ids: Any, **values: Any) -> Answers:
    """Return `Answers` of films of one finding each; the name and keywords of before."""
    warnings.warn("Decisions is now Answers, and true_ids its truth", DeprecationWarning, stacklevel=2)
    return Answers(truth=true_ids, **values)


def films_hash(paths: Sequence[str], findings: Sequence[str], patient_ids: np.ndarray) -> str:
    """Return SHA-256 (hex) over path and finding of each film, and over which films are of one patient.

    Neither the order of rows nor the names of patients matter: a patient is known by the first of its films.

    Args:
        paths: N texts, each film's own.
        findings: N texts; the findings of a film of several joined to one text.
        patient_ids: int64, shape (N,).
    """
    films = [f"{path}\0{finding}" for path, finding in zip(paths, findings, strict=True)]
    first: dict[int, str] = {}
    for film, patient in zip(films, patient_ids.tolist(), strict=True):
        first[patient] = min(first.get(patient, film), film)
    rows = sorted(f"{film}\0{first[patient]}" for film, patient in zip(films, patient_ids.tolist(), strict=True))
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def data_hash(films: Embeddings) -> str:
    """Return `films_hash` of embedded films; the embeddings do not enter, so that two encoders have the same.

    Films without paths are known by their row. A film of several findings counts as such; what is not stated does not.

    Examples:
        >>> films = Embeddings([[0.0], [1.0]], ["normal", "covid19"], ["p1", "p2"], paths=["1.png", "2.png"])
        >>> other = Embeddings([[7.0], [5.0]], ["covid19", "normal"], ["p2", "p1"], paths=["2.png", "1.png"])
        >>> data_hash(films) == data_hash(other)  # another encoder, another order
        True
    """
    names = films.class_names
    if films.is_multi_label:
        findings = ["|".join(names[index] for index in np.flatnonzero(row == 1).tolist()) for row in films.class_ids]
    else:
        findings = [names[index] for index in films.class_ids.tolist()]
    return films_hash(films.film_names, findings, films.patient_ids)


def _one_each(indices: np.ndarray, n_findings: int) -> np.ndarray:
    """Return the table of films that show one finding each."""
    if not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"truth must be whole numbers 0..{n_findings - 1}, or a table, got {indices[0]!r}")
    if len(indices) and (indices.min() < 0 or indices.max() >= n_findings):
        raise ValueError(f"truth must be 0..{n_findings - 1}, got {indices.min()}..{indices.max()}")
    return np.asarray(np.eye(n_findings)[indices])


def _check_tables(
    tables: Mapping[str, np.ndarray], paths: Sequence[str], findings: Sequence[str], is_exclusive: bool
) -> None:
    def refuse(is_good: np.ndarray, name: str, expected: str) -> None:
        if not is_good.all():
            row, column = np.argwhere(~is_good)[0].tolist()
            value = f"{tables[name][row, column]:g}"
            raise ValueError(f"film {paths[row]} has {value} for {findings[column]}, {expected} was expected")

    probabilities, truth = tables["probabilities"], tables["truth"]
    refuse(np.isnan(truth) | np.isin(truth, (0, 1)), "truth", "1 (shown), 0 (not shown) or NaN (not stated)")
    if is_exclusive:
        if not (is_one := (truth.sum(axis=1) == 1)).all():
            raise ValueError(f"film {paths[int(np.argmin(is_one))]} needs one finding, and the others stated as absent")
        is_sum = (probabilities >= 0).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) <= _SUM_TOLERANCE)
        if not is_sum.all():
            row = int(np.argmin(is_sum))
            raise ValueError(
                f"film {paths[row]} has the probabilities {probabilities[row].tolist()}; 0 or more with the sum 1 was "
                "expected: a softmax gives such"
            )
    else:
        refuse((probabilities >= 0) & (probabilities <= 1), "probabilities", "a probability 0..1")
    for name in {"log_odds", "margins"} & set(tables):
        refuse(np.isfinite(tables[name]), name, "a finite number")
