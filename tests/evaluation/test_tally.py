import numpy as np
import pytest
import torch

from fewshot_cxr.evaluation.episodic.summary import _slope
from fewshot_cxr.evaluation.episodic.tally import BIN_SUMS, CONFUSION_SUMS, N_BINS, Layout
from fewshot_cxr.metrics import confusion_scores

FINDINGS = ("a", "b", "c")
LAYOUTS = {
    "plain": Layout(FINDINGS),
    "wide": Layout(FINDINGS, is_wide=True),
    "all": Layout(FINDINGS, n_temperatures=2, has_outside=True, seen=(0, 2), novel=(1,)),
}


def some_statistics(layout, n=4):
    draw = torch.Generator().manual_seed(0)
    return {name: torch.rand(n, size, generator=draw) for name, size in layout.sizes.items()}


def sums_of(confusion):
    """What a row keeps of a confusion matrix."""
    hits = confusion.diag()
    sums = hits, confusion.sum(1) - hits, confusion.sum(0) - hits
    return {name: one[None] for name, one in zip(CONFUSION_SUMS, sums, strict=True)}


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_split_undoes_join(name):
    layout = LAYOUTS[name]
    statistics = some_statistics(layout)
    rows = layout.join(statistics)
    assert rows.shape == (4, layout.n_statistics)
    assert rows.dtype == torch.float64
    for name, values in layout.split(rows[2]).items():
        torch.testing.assert_close(values, statistics[name][2].double())


@pytest.mark.parametrize("scale", [1.0, 12.0])
def test_numbers_of_a_confusion_do_not_depend_on_how_many_are_asked(scale):
    layout = LAYOUTS["plain"]
    statistics = {name: values[:1] for name, values in some_statistics(layout).items()}
    confusion = scale * torch.rand(3, 3, generator=torch.Generator().manual_seed(1))
    statistics |= sums_of(confusion)
    for name in (f"{name}0" for name in BIN_SUMS):
        statistics[name] = statistics[name] * scale
    numbers = layout.numbers(layout.join(statistics)[0])
    expected = confusion_scores(confusion)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "kappa"):
        assert float(numbers[name,]) == pytest.approx(float(expected[name]))
    for place, finding in enumerate(FINDINGS):
        for name in ("sensitivity", "specificity", "ppv", "npv", "f1"):
            assert float(numbers["finding", finding, name]) == pytest.approx(float(expected[name][place]))
    count, sure, right = (statistics[f"{name}0"][0] for name in BIN_SUMS)
    ece = sum(abs(float(right[b] - sure[b])) for b in range(N_BINS)) / float(count.sum())
    assert float(numbers["calibration", "0", "ece"]) == pytest.approx(ece, rel=1e-5)


def test_ranking_is_averaged_over_the_episodes_that_hold_the_finding():
    layout = LAYOUTS["plain"]
    rows = {name: torch.zeros(1, size) for name, size in layout.sizes.items()}
    rows["ranked"][0] = torch.tensor([0.5, 0.25, 0.0])  # shares of the episodes
    rows["auroc"][0] = torch.tensor([0.4, 0.15, 0.0])
    numbers = layout.numbers(layout.join(rows)[0])
    assert float(numbers["finding", "a", "auroc"]) == pytest.approx(0.8)
    assert float(numbers["finding", "b", "auroc"]) == pytest.approx(0.6)
    assert np.isnan(float(numbers["finding", "c", "auroc"]))
    assert float(numbers["auroc",]) == pytest.approx(0.7)


def test_seen_and_novel_by_hand():
    layout = LAYOUTS["all"]
    rows = {name: torch.ones(1, size) for name, size in layout.sizes.items()}
    rows |= sums_of(torch.tensor([[3.0, 1, 0], [2, 2, 0], [0, 0, 4]]))
    numbers = layout.numbers(layout.join(rows)[0])
    found = [float(numbers["seen_and_novel", name]) for name in ("seen", "novel", "harmonic_mean")]
    assert found == pytest.approx([7 / 8, 1 / 2, 2 * 7 / 8 / 2 / (7 / 8 + 1 / 2)])
    rows |= sums_of(torch.tensor([[0.0, 1, 0], [1, 0, 0], [1, 0, 0]]))
    assert float(layout.numbers(layout.join(rows)[0])["seen_and_novel", "harmonic_mean"]) == 0


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_slopes_of_what_is_defined_are_numbers(name):
    layout = LAYOUTS[name]
    rows = {key: torch.zeros(1, size) for key, size in layout.sizes.items()}
    for key in rows.keys() - {*CONFUSION_SUMS, "ranked"}:
        rows[key] = torch.ones_like(rows[key])
    if "hits" in rows:  # finding c is neither asked nor taken
        rows |= sums_of(torch.tensor([[3.0, 0, 0], [0, 3, 0], [0, 0, 0]]))
        rows["ranked"] = torch.tensor([[1.0, 1, 0]])
    mean = layout.join(rows)[0]
    values = torch.stack(list(layout.numbers(mean).values()))
    slope = torch.func.jacrev(lambda row: torch.stack(list(layout.numbers(row).values())))(mean)
    assert slope[values.isfinite()].isfinite().all()
    np.testing.assert_allclose(_slope(layout, mean)[values.isfinite()], slope[values.isfinite()], atol=1e-12)
