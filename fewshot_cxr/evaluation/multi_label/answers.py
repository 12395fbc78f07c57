"""What a classifier said of each finding of each film, beside what the film shows."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from fewshot_cxr.embeddings import patient_codes
from fewshot_cxr.evaluation.data_hash import films_hash


@dataclass(frozen=True, eq=False)
class Answers:
    """One row per film, one column per finding. After construction findings are sorted, and films by path.

    Args:
        findings: distinct names.
        probabilities: of each finding, 0..1, shape (N, n_findings); they need not add up to anything.
        truth: 1 the film shows it, 0 it does not, NaN nobody looked for it; shape (N, n_findings).
        patient_ids: N ids as for `Embeddings`; None: each film is its own patient.
        paths: N texts, each film's own.

    After construction the tables are float64, and `patient_ids` int64 (N,), patients numbered by their first film.

    Raises:
        ValueError: shapes do not fit, a finding or a film occurs twice, or a table holds another value.
    """

    findings: tuple[str, ...]
    probabilities: Any
    truth: Any
    patient_ids: Any
    paths: tuple[str, ...]

    def __post_init__(self) -> None:
        findings, paths = tuple(self.findings), tuple(map(str, self.paths))
        probabilities, truth = (np.asarray(table, dtype=np.float64) for table in (self.probabilities, self.truth))
        patients = patient_codes([None] * len(paths) if self.patient_ids is None else self.patient_ids)
        shape = (len(paths), len(findings))
        if not paths or not findings or len(patients) != len(paths) or len(set(findings)) != len(findings):
            raise ValueError(
                f"{len(paths)} films, {len(patients)} patient ids and the findings {', '.join(findings) or 'none'}: "
                "one film or more, an id for each, and distinct findings are needed"
            )
        for name, table in (("probabilities", probabilities), ("truth", truth)):
            if table.shape != shape:
                raise ValueError(
                    f"{name} must have a row per film and a column per finding, {shape}, got {table.shape}"
                )
        _check_cells((probabilities >= 0) & (probabilities <= 1), probabilities, "a probability 0..1", paths, findings)
        is_known = np.isnan(truth) | (truth == 0) | (truth == 1)
        _check_cells(is_known, truth, "1 (shown), 0 (not shown) or NaN (not stated)", paths, findings)
        rows = sorted(range(len(paths)), key=paths.__getitem__)
        twice = [paths[row] for before, row in pairwise(rows) if paths[before] == paths[row]]
        if twice:
            raise ValueError(f"film {twice[0]} is there twice; each film must be one row")
        columns = np.argsort(findings)
        values: dict[str, Any] = {
            "findings": tuple(findings[column] for column in columns),
            "probabilities": np.ascontiguousarray(probabilities[rows][:, columns]),
            "truth": np.ascontiguousarray(truth[rows][:, columns]),
            "patient_ids": patient_codes(patients[rows]),
            "paths": tuple(paths[row] for row in rows),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def data_hash(self) -> str:
        """The films, what they show and which are of one patient (`films_hash`); what is not stated does not count."""
        shown = ["|".join(self.findings[index] for index in np.flatnonzero(row == 1).tolist()) for row in self.truth]
        return films_hash(self.paths, shown, self.patient_ids)


def _check_cells(
    is_good: np.ndarray, table: np.ndarray, expected: str, paths: tuple[str, ...], findings: tuple[str, ...]
) -> None:
    if not is_good.all():
        row, column = np.argwhere(~is_good)[0].tolist()
        raise ValueError(
            f"film {paths[row]} has {table[row, column]:g} for {findings[column]}, {expected} was expected"
        )
