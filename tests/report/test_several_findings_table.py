import csv
import io

import numpy as np
import pytest

from fewshot_cxr.evaluation import evaluate_multi_label
from fewshot_cxr.report import multi_label_csv, multi_label_table, numbers_csv
from fewshot_cxr.report.score_tables import COLUMNS


def made_result():
    """Twelve films of twelve patients: mass is told perfectly, hernia is shown by none."""
    truth = np.stack([np.zeros(12), np.arange(12) % 2], axis=1)
    return evaluate_multi_label(("hernia", "mass"), 0.2 + 0.6 * truth, truth, None, tuple("abcdefghijkl"))


def test_each_finding_has_a_row_and_the_means_the_last():
    table = multi_label_table(made_result())
    assert table.caption.startswith("12 films (patients unknown), each finding for itself")
    hernia, mass, mean = table.rows
    assert table.columns[:4] == ("finding", "films with it", "AUROC", "AUPRC")
    assert hernia[:4] == ("hernia", "0 of 12", "unknown", "unknown")
    assert mass[:2] == ("mass", "6 of 12")
    assert mass[2].startswith("100.0 %\n")
    assert mass[2].endswith(" to 100")
    assert mean[0] == "mean over findings"
    assert mean[2].startswith("100.0 %\n")
    assert set(mean[4:]) == {""}
    assert ("hernia", "films with hernia and films without it are needed") in table.below


def test_a_spreadsheet_gets_every_number():
    result = made_result()
    header, *rows = csv.reader(io.StringIO(numbers_csv(result)))
    assert tuple(header) == COLUMNS
    found = {(name, finding): cells for name, finding, *cells in rows}
    assert len(found) == 2 + 2 * 6
    with pytest.warns(DeprecationWarning, match="multi_label_csv is now numbers_csv"):
        assert multi_label_csv(result) == numbers_csv(result)
    assert found["auroc", "hernia"][:5] == [""] * 5
    prevalence = result.per_finding["mass"].prevalence
    assert [float(cell) for cell in found["prevalence", "mass"][:3]] == [prevalence.mean, *prevalence.ci95]
