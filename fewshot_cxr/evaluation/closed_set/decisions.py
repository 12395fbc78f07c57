"""What a classifier said of each film: the input of a closed-set evaluation, however it was made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot_cxr._checks import lookup
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.embeddings import Embeddings, patient_codes
from fewshot_cxr.evaluation.data_hash import films_hash
from fewshot_cxr.inference.rules import OWN_DISTANCE, RULES, TRANSDUCTIVE
from fewshot_cxr.metrics import class_probabilities, log_odds, tie_credits

Progress = Callable[[int, int], None]

_AT_ONCE = 1024
_SUM_TOLERANCE = 1e-6
_NEAR_CERTAIN = 1e-9


@dataclass(frozen=True, eq=False, kw_only=True)
class Decisions:
    """One row per film. After construction findings are sorted, and films by path and finding.

    Args:
        findings: those that can be answered.
        true_ids: finding of each film, indices of `findings`, shape (N,).
        probabilities: shape (N, n_findings), 0..1, rows of sum 1; where only decisions are known, their credits.
        paths: N texts, each film's own.
        patient_ids: N ids as for `Embeddings`; None: each film is its own patient.
        has_probabilities: False where only decisions are known.
        rule: what decided. distance: what it measured with, if it did.
        is_transductive: whether an answer depends on the other films asked.
        notes: what a reader of the result should know.
        log_odds: what films are ranked by for each finding, shape (N, n_findings), finite, larger is more so: it tells
            apart what rounds to one probability. None: the probabilities are.

    After construction `true_ids` and `patient_ids` are int64 (N,), patients numbered by their first film, and
    `probabilities` is float64.

    Raises:
        ValueError: lengths differ, a finding or a film occurs twice, or a row is no set of probabilities.
    """

    findings: tuple[str, ...]
    true_ids: Any
    probabilities: Any
    paths: tuple[str, ...]
    patient_ids: Any = None
    has_probabilities: bool = True
    rule: str = "classifier"
    distance: str | None = None
    is_transductive: bool = False
    notes: tuple[str, ...] = ()
    log_odds: Any = None

    def __post_init__(self) -> None:
        findings, n_films = tuple(self.findings), len(self.paths)
        true_ids = np.asarray(self.true_ids)
        probabilities = np.asarray(self.probabilities, dtype=np.float64)
        patients = patient_codes([None] * n_films if self.patient_ids is None else self.patient_ids)
        if not n_films or (true_ids.shape, patients.shape) != ((n_films,), (n_films,)):
            raise ValueError(
                f"decisions of {n_films} films need as many true_ids and patient_ids, and one film or more"
            )
        if probabilities.shape != (n_films, len(findings)) or len(set(findings)) != len(findings):
            raise ValueError(f"probabilities of shape {probabilities.shape} need {n_films} films and distinct findings")
        if not np.issubdtype(true_ids.dtype, np.integer):
            raise ValueError(f"true_ids must be whole numbers 0..{len(findings) - 1}, got {true_ids[0]!r}")
        if true_ids.min() < 0 or true_ids.max() >= len(findings):
            raise ValueError(f"true_ids must be 0..{len(findings) - 1}, got {true_ids.min()}..{true_ids.max()}")
        _check_probabilities(probabilities, self.paths)
        columns = np.argsort(findings)
        true_ids = np.argsort(columns)[true_ids]
        keys = [(str(path), int(true)) for path, true in zip(self.paths, true_ids, strict=True)]
        rows = sorted(range(n_films), key=keys.__getitem__)
        twice = [keys[row][0] for before, row in pairwise(rows) if keys[before] == keys[row]]
        if twice:
            raise ValueError(f"film {twice[0]} is there twice; each film must be one row")
        ranking = None if self.log_odds is None else _checked_log_odds(self.log_odds, probabilities.shape)
        values: dict[str, Any] = {
            "findings": tuple(findings[column] for column in columns),
            "true_ids": true_ids[rows],
            "probabilities": np.ascontiguousarray(probabilities[rows][:, columns]),
            "paths": tuple(keys[row][0] for row in rows),
            "patient_ids": patient_codes(patients[rows]),
            "log_odds": None if ranking is None else np.ascontiguousarray(ranking[rows][:, columns]),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def credits(self) -> np.ndarray:
        """Share of the decision that each finding gets, float64, shape (N, n_findings); k that tie get 1/k each."""
        credits: np.ndarray = tie_credits(torch.from_numpy(-self.probabilities)).numpy()
        return credits

    @cached_property
    def data_hash(self) -> str:
        """The films, their findings and which are of one patient; see `films_hash`."""
        return films_hash(self.paths, [self.findings[index] for index in self.true_ids.tolist()], self.patient_ids)

    @property
    def ranking_scores(self) -> np.ndarray:
        """Order of the films for each finding, float64, shape (N, n_findings), larger is more so.

        The log-odds, or where they are not known the probability; where that is 1 but for rounding, what is left for
        the other findings tells the films apart.
        """
        if self.log_odds is not None:
            return np.asarray(self.log_odds)
        others = np.stack([np.delete(self.probabilities, c, axis=1).sum(axis=1) for c in range(len(self.findings))], 1)
        with np.errstate(divide="ignore"):
            scores: np.ndarray = np.where(others < _NEAR_CERTAIN, -np.log(others), self.probabilities)
        return scores


def decide_by_exemplars(
    queries: Embeddings,
    support: Embeddings,
    *,
    rule: str = "mean_distance",
    distance: str | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Decisions:
    """Classify films by their distance to labelled ones; the probabilities are a softmax over minus the distances.

    Args:
        queries: the films to judge, one finding each.
        support: labelled films of the same encoder, one finding each; none of them may be asked. Whether the two share
            a patient cannot be seen here: their patients are numbered apart.
        rule: a name in RULES; one of TRANSDUCTIVE looks at all queries at once.
        distance: a name in DISTANCES; None: the one that the support's encoder was trained with, else euclidean.
        options: further keyword arguments of the rule.
        progress: called with (films done, films in all).

    Raises:
        ValueError: unknown rule or distance, films of several findings, a film on both sides, other dims, fewer than
            two findings in the support, or a finding of the queries that the support lacks.
    """
    judge = lookup(RULES, rule, what="rule")
    held, labels = _check_sides(queries, support)
    distance = distance or support.distance or "euclidean"
    lookup(DISTANCES, distance, what="distance")
    names = support.class_names
    findings = tuple(names[index] for index in held)
    position = {name: index for index, name in enumerate(findings)}
    true_ids = [position[queries.class_names[index]] for index in queries.class_ids.tolist()]
    vectors, known = torch.from_numpy(queries.vectors), torch.from_numpy(support.vectors)
    size = len(queries) if rule in TRANSDUCTIVE else _AT_ONCE
    parts: list[Tensor] = []
    for first in range(0, len(queries), size):
        with torch.inference_mode():
            parts.append(
                judge(known, labels, vectors[first : first + size], distance=distance, **options or {}).double()
            )
        if progress is not None:
            progress(min(first + size, len(queries)), len(queries))
    no_paths, distances = queries.paths is None, torch.cat(parts)
    return Decisions(
        findings=findings,
        true_ids=true_ids,
        probabilities=class_probabilities(distances).numpy(),
        paths=tuple(f"row {row}" for row in range(len(queries))) if queries.paths is None else tuple(queries.paths),
        patient_ids=queries.patient_ids,
        rule=rule,
        distance=OWN_DISTANCE.get(rule, distance),
        is_transductive=rule in TRANSDUCTIVE,
        log_odds=log_odds(distances).numpy(),
        notes=("the films have no paths and are known by their row",) if no_paths else (),
    )


def _check_sides(queries: Embeddings, support: Embeddings) -> tuple[list[int], Tensor]:
    """Return the class ids of the support's findings, and the place of each exemplar's among them."""
    for films, what in ((queries, "queries"), (support, "support")):
        if not isinstance(films, Embeddings):
            raise TypeError(f"{what} must be Embeddings, got {type(films).__name__}")
    if queries.is_multi_label or support.is_multi_label:
        raise ValueError("closed-set evaluation needs films of one finding each; choose findings (--findings)")
    if shared := set(queries.paths or ()) & set(support.paths or ()):
        raise ValueError(f"film {min(shared)} is support and is asked too; take films of another split as support")
    dims = queries.vectors.shape[1], support.vectors.shape[1]
    if dims[0] != dims[1]:
        raise ValueError(f"embeddings of dim {dims[0]} cannot be compared with dim {dims[1]}: same encoder?")
    if queries.paths is None or support.paths is None:
        known = {row.tobytes() for row in support.vectors}
        if all(row.tobytes() in known for row in queries.vectors):
            raise ValueError("queries and support are the same films; take films of another split as support")
    held, labels = np.unique(support.class_ids, return_inverse=True)
    names = [support.class_names[index] for index in held.tolist()]
    if len(names) < 2:
        raise ValueError(f"the support holds one finding only ({', '.join(names)}); two are needed")
    asked = [queries.class_names[index] for index in np.unique(queries.class_ids).tolist()]
    if lacking := [name for name in asked if name not in names]:
        raise ValueError(
            f"the support has no film of {', '.join(lacking)}, which the films to judge show; "
            "add exemplars or choose findings (--findings)"
        )
    return held.tolist(), torch.from_numpy(labels)


def _checked_log_odds(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    scores = np.asarray(values, dtype=np.float64)
    if scores.shape != shape or not np.isfinite(scores).all():
        raise ValueError(f"log_odds must be finite and of shape {shape} as the probabilities, got {scores.shape}")
    return scores


def _check_probabilities(probabilities: np.ndarray, paths: tuple[str, ...]) -> None:
    is_good = (probabilities >= 0).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) <= _SUM_TOLERANCE)
    if not is_good.all():
        row = int(np.flatnonzero(~is_good)[0])
        raise ValueError(
            f"film {paths[row]} has the probabilities {probabilities[row].tolist()}; 0 or more with the sum 1 was "
            "expected: a softmax gives such"
        )
