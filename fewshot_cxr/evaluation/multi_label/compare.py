"""Two multi-label classifiers on the same films: mean AUROC by a paired jackknife, each finding's by DeLong."""

import numpy as np

from fewshot_cxr.evaluation.closed_set.numbers import RANKING
from fewshot_cxr.evaluation.compare_closed import delong_rows, jackknifed
from fewshot_cxr.evaluation.comparison import Difference
from fewshot_cxr.evaluation.multi_label.answers import Answers
from fewshot_cxr.evaluation.multi_label.numbers import answer_units, finding_values, mean_values


def multi_label_differences(first: Answers, second: Answers) -> list[Difference]:
    """Return the differences between two sets of answers on the same films.

    Mean AUROC and mean AUPRC: a paired delete-a-group jackknife over patients, as in `closed_differences`. Then
    DeLong's test of each finding's AUROC over the films that state it, by films and by patients.

    Args:
        first, second: of the same films, findings, truth and patients.
    """
    units = answer_units(first)
    found = [[finding_values(one, index, units) for index in range(len(one.findings))] for one in (first, second)]
    rows = [jackknifed(name, *(mean_values(some, name) for some in found)) for name in RANKING]
    rows = [row for row in rows if np.isfinite(row.difference)]
    for index, finding in enumerate(first.findings):
        stated = np.flatnonzero(~np.isnan(first.truth[:, index]))
        scores = first.probabilities[stated, index], second.probabilities[stated, index]
        patients = first.patient_ids[stated]
        clusters = patients if len(np.unique(patients)) < len(patients) else None
        rows += delong_rows(finding, scores, first.truth[stated, index] == 1, clusters)
    return rows
