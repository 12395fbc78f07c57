"""Means of shares with intervals over patients, and the paired test of two runs."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from fewshot_cxr.explain.deletion import summarise_gains
from fewshot_cxr.explain.focus_summary import compare_focus, summarise_focus
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report.heat_sections import focus_table, gain_text


def make(n_patients=12, seed=0, films=(1, 4)):
    """Shares of films whose patients differ from each other, with the facts that go with them."""
    draw = np.random.default_rng(seed)
    patients = np.repeat(np.arange(n_patients), draw.integers(*films, n_patients))
    centre = draw.beta(2, 4, n_patients)[patients]
    shares = {name: draw.beta(12 * centre, 12 * (1 - centre)) for name in ("lungs", "border")}
    facts = {
        "findings": draw.choice(["flu", "mass"], len(patients)).tolist(),
        "sources": draw.choice(["", "here"], len(patients)).tolist(),
        "patients": [f"p{patient}" for patient in patients],
    }
    areas = {name: draw.random(len(patients)) for name in shares}
    return shares, areas, facts


def test_rows_are_the_means_of_each_group():
    shares, areas, facts = make()
    shares["lungs"][[0, 5]] = np.nan
    rows = {(row.measure, row.group_kind, row.group): row for row in summarise_focus(shares, areas, **facts)}
    groups = [("all", "all"), ("finding", "flu"), ("finding", "mass"), ("source", "here"), ("source", "not stated")]
    assert list(rows) == [(measure, *group) for measure in shares for group in groups]
    for (measure, kind, group), row in rows.items():
        films = [
            at
            for at in range(len(facts["patients"]))
            if not np.isnan(shares[measure][at]) and (kind == "all" or (facts[f"{kind}s"][at] or "not stated") == group)
        ]
        assert row.n_films == len(films)
        assert row.n_patients == len({facts["patients"][at] for at in films})
        assert row.share.mean == pytest.approx(np.mean([shares[measure][at] for at in films]))
        assert row.area == pytest.approx(np.mean([areas[measure][at] for at in films]))
        assert 0 <= row.share.ci95[0] < row.share.mean < row.share.ci95[1] <= 1
        assert row.share.reason is None


def test_interval_is_that_of_a_slow_sum_over_patients():
    shares, areas, facts = make()
    row = summarise_focus(shares, areas, **facts)[0]
    values, names = shares["lungs"], sorted(set(facts["patients"]))
    mean, squares = values.mean(), 0.0
    for name in names:
        squares += sum(values[at] - mean for at, own in enumerate(facts["patients"]) if own == name) ** 2
    error = (squares * len(names) / (len(names) - 1)) ** 0.5 / len(values) / (mean * (1 - mean))
    reach = stats.t.ppf(0.975, len(names) - 1) * error
    odds = np.log(mean / (1 - mean))
    np.testing.assert_allclose(row.share.ci95, 1 / (1 + np.exp(-np.array([odds - reach, odds + reach]))))


def test_intervals_hold_the_truth_as_often_as_they_say():
    held, n_runs = 0, 400
    for seed in range(n_runs):
        shares, areas, facts = make(n_patients=15, seed=seed)
        low, high = summarise_focus(shares, areas, **facts)[0].share.ci95
        held += low <= 2 / 6 <= high
    assert 0.91 < held / n_runs < 0.985


def test_differences_hold_the_truth_as_often_as_they_say():
    p_values = []
    for seed in range(400):
        shares, _, facts = make(n_patients=15, seed=seed)
        (row,) = compare_focus({"x": shares["lungs"]}, {"x": shares["border"]}, patients=facts["patients"])
        p_values.append(row.p_value)
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09


def test_films_taken_for_independent_would_make_the_interval_too_narrow():
    shares, areas, facts = make(n_patients=20, films=(4, 8))
    alone = {**facts, "patients": list(range(len(facts["patients"])))}
    clustered, naive = (summarise_focus(shares, areas, **each)[0].share.ci95 for each in (facts, alone))
    assert np.diff(clustered) > 1.3 * np.diff(naive)


def test_one_film_for_each_patient_gives_the_paired_t_test():
    first, second = (np.random.default_rng(seed).random(30) for seed in (0, 1))
    (row,) = compare_focus({"border": first}, {"border": second}, patients=list(range(30)))
    expected = stats.ttest_rel(second, first)
    assert row.p_value == pytest.approx(expected.pvalue)
    np.testing.assert_allclose(row.ci95, expected.confidence_interval())
    assert (row.mean_first, row.mean_second) == pytest.approx((first.mean(), second.mean()))
    assert row.difference == pytest.approx(second.mean() - first.mean())


def test_swapping_the_runs_turns_the_sign():
    shares, _, facts = make()
    pair = {"x": shares["lungs"]}, {"x": shares["border"]}
    (row,), (swapped,) = (compare_focus(*each, patients=facts["patients"]) for each in (pair, pair[::-1]))
    assert swapped.difference == -row.difference
    assert swapped.ci95 == pytest.approx((-row.ci95[1], -row.ci95[0]))
    assert swapped.p_value == pytest.approx(row.p_value)
    assert (swapped.mean_first, swapped.mean_second) == (row.mean_second, row.mean_first)


def numbers(rows):
    return [
        number
        for row in rows
        for value in {**vars(row), **vars(getattr(row, "share", row))}.values()
        for number in (value if isinstance(value, tuple) else (value,))
        if isinstance(number, float | int)
    ]


def test_order_of_films_and_names_of_patients_change_nothing():
    shares, areas, facts = make()
    shares["lungs"][3] = np.nan
    order = np.random.default_rng(5).permutation(len(facts["patients"]))
    mixed = [{name: values[order] for name, values in each.items()} for each in (shares, areas)]
    renamed = {name: [values[at] for at in order] for name, values in facts.items()}
    renamed["patients"] = [("new", name[::-1]) for name in renamed["patients"]]
    np.testing.assert_allclose(
        numbers(summarise_focus(*mixed, **renamed)), numbers(summarise_focus(shares, areas, **facts))
    )
    other = {name: 1 - values for name, values in shares.items()}
    mixed_other = {name: 1 - values for name, values in mixed[0].items()}
    np.testing.assert_allclose(
        numbers(compare_focus(mixed[0], mixed_other, patients=renamed["patients"])),
        numbers(compare_focus(shares, other, patients=facts["patients"])),
    )


def test_films_without_a_value_in_either_run_are_left_out_and_counted():
    shares, _, facts = make()
    first, second = shares["lungs"].copy(), shares["border"].copy()
    first[0] = second[[0, 1]] = np.nan
    (row,) = compare_focus({"x": first}, {"x": second}, patients=facts["patients"])
    (kept,) = compare_focus({"x": first[2:]}, {"x": second[2:]}, patients=facts["patients"][2:])
    assert row == replace(kept, n_left_out=2)
    assert row.n_films == len(first) - 2


def test_too_few_patients_give_no_interval_but_a_reason():
    facts = {"findings": ["flu"] * 3, "sources": [""] * 3, "patients": ["p"] * 3}
    shares, nothing = {"x": np.array([0.1, 0.2, 0.3])}, {"x": np.full(3, np.nan)}
    row = summarise_focus(shares, shares, **facts)[0]
    assert row.share == Estimate(pytest.approx(0.2), reason="it rests on one patient: no interval")
    row = summarise_focus(nothing, shares, **facts)[0]
    assert (row.n_films, row.share, row.area) == (0, Estimate(None, reason="no film has a value"), None)
    (gap,) = compare_focus(shares, {"x": shares["x"] + 0.1}, patients=facts["patients"])
    assert (gap.difference, gap.ci95, gap.p_value) == (pytest.approx(0.1), None, None)
    assert gap.reason == "it rests on one patient: no interval"
    (gap,) = compare_focus(shares, nothing, patients=facts["patients"])
    assert (gap.n_films, gap.n_left_out, gap.difference) == (0, 3, None)
    assert gap.reason == "no film has a value in both runs"


def test_what_does_not_vary_has_no_p_value_of_zero():
    values, patients = np.random.default_rng(0).random(8) / 2, list("abcdefgh")
    (same,) = compare_focus({"x": values}, {"x": values.copy()}, patients=patients)
    assert (same.difference, same.ci95, same.p_value, same.reason) == (0.0, (0.0, 0.0), 1.0, None)
    (shifted,) = compare_focus({"x": values}, {"x": values + 0.1}, patients=patients)
    assert (shifted.ci95, shifted.p_value) == (None, None)
    assert shifted.reason == "the two differ, but nothing varies to measure chance by"
    facts = {"findings": ["flu"] * 8, "sources": [""] * 8, "patients": patients}
    nowhere = {"x": np.zeros(8)}
    assert summarise_focus(nowhere, nowhere, **facts)[0].share.ci95 == (0.0, 0.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda shares, areas, facts: summarise_focus(shares, {"lungs": areas["lungs"]}, **facts),
            r"areas must have the names of shares, \['border', 'lungs'\], got \['lungs'\]",
        ),
        (
            lambda shares, areas, facts: summarise_focus(shares, areas, **{**facts, "sources": ["here"]}),
            r"each column must have one value for each film, got \{'findings': \d+, 'sources': 1, ",
        ),
        (
            lambda shares, areas, facts: compare_focus(shares, {"border": areas["border"]}, patients=facts["patients"]),
            r"both runs must have the same measures, got \['border', 'lungs'\] and \['border'\]; give both masks",
        ),
        (
            lambda shares, areas, facts: compare_focus(shares, areas, patients=["p"]),
            "each column must have one value for each film, got {'patients': 1, ",
        ),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(*make())


@pytest.mark.parametrize(("patients", "n_unknown"), [([None] * 6, 6), ([None, "", "p", "p", "q", "q"], 2)])
def test_films_of_unknown_patients_count_apart_and_are_counted(patients, n_unknown):
    shares = {"border": np.array([0.1, 0.2, 0.3, 0.4, 0.5, np.nan])}
    facts = {"findings": ["x"] * 6, "sources": [""] * 6}
    row = summarise_focus(shares, shares, patients=patients, **facts)[0]
    n_patients = 5 if n_unknown == 6 else 4
    assert (row.n_films, row.n_patients, row.n_films_without_patient) == (5, n_patients, min(n_unknown, 5))
    assert row.to_json()["n_films_without_patient"] == min(n_unknown, 5)
    (gap,) = compare_focus(shares, shares, patients=patients)
    (gain,) = summarise_gains({"deletion": shares["border"][:5]}, patients=patients[:5])
    for one in (gap, gain):
        assert (one.n_patients, one.n_films_without_patient) == (n_patients, min(n_unknown, 5))
    cell = focus_table((row,)).rows[0][2]
    assert cell == ("unknown" if n_unknown == 6 else "2 and 2 unknown")
    assert ("patients unknown" in gain_text(gain)) == (n_unknown == 6)
