import numpy as np
import pytest
import torch

from fewshot_cxr.inference.bank import complete_prevalence, parse_prevalence, reweighted

PRIOR = {"normal": 0.5, "pneumonia": 0.25, "covid19": 0.25}


def test_what_is_not_stated_shares_the_rest_in_proportion():
    found = complete_prevalence(parse_prevalence("covid19=0.04"), PRIOR)
    assert list(found) == list(PRIOR)
    assert found == pytest.approx({"normal": 0.64, "pneumonia": 0.32, "covid19": 0.04})
    whole = complete_prevalence(parse_prevalence(" covid19 = 0.1, normal=0.7 ,pneumonia=.2"), PRIOR)
    assert whole == pytest.approx({"normal": 0.7, "pneumonia": 0.2, "covid19": 0.1})
    assert sum(whole.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("covid19=0.6,normal=0.5", "must leave something for pneumonia, got 1.1 in all"),
        ("covid19=0.5,normal=0.5", "must leave something for pneumonia, got 1 in all"),
        ("covid19=0.5,normal=0.3,pneumonia=0.1", "of all findings must be together 1, got 0.9"),
        ("covid19=-0.1", "the prevalence of covid19 must be above 0 and below 1, got -0.1"),
        ("covid19=0", "must be above 0 and below 1, got 0"),
        ("covid19=2", "must be above 0 and below 1, got 2"),
        ("covid=0.1", r"no finding of the bank is 'covid' \(did you mean 'covid19'\?\); it has normal, pneumonia"),
        ("covid19=0.1,covid19=0.2", "the prevalence of covid19 is stated twice"),
        ("covid19", "a prevalence is NAME=SHARE, such as covid19=0.02, got 'covid19'"),
        ("covid19=nan", "got 'covid19=nan'"),
        ("covid19=2%", "got 'covid19=2%'"),
        ("=0.1", "got '=0.1'"),
        ("", "got ''"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(text, message):
    with pytest.raises(ValueError, match=message) as refused:
        complete_prevalence(parse_prevalence(text), PRIOR)
    assert "\n" not in str(refused.value)


def test_a_name_may_hold_an_equals_sign():
    assert parse_prevalence("stage=2=0.1") == {"stage=2": 0.1}


def test_reweighting_is_bayes_rule_with_another_prior():
    """Films of a known law: the posterior at either prior is computed from the densities."""
    values = torch.linspace(-3, 3, 50, dtype=torch.float64)
    likelihood = torch.stack([torch.exp(-((values - mean) ** 2) / 2) for mean in (-1, 0, 2)], dim=-1)

    def posterior(shares):
        weights = likelihood * torch.tensor(shares, dtype=torch.float64)
        return weights / weights.sum(-1, keepdim=True)

    clinic = {"normal": 0.9, "pneumonia": 0.08, "covid19": 0.02}
    found = reweighted(posterior(list(PRIOR.values())), tuple(PRIOR), PRIOR, clinic)
    np.testing.assert_allclose(found, posterior(list(clinic.values())))
    back = reweighted(found, tuple(PRIOR), clinic, PRIOR)
    np.testing.assert_allclose(back, posterior(list(PRIOR.values())))


def test_columns_go_by_name_and_sure_answers_stay_sure():
    probabilities = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    clinic = {"covid19": 0.1, "normal": 0.7, "pneumonia": 0.2}
    found = reweighted(probabilities, ("covid19", "normal", "pneumonia"), PRIOR, clinic)
    np.testing.assert_allclose(found[0], [1, 0, 0])
    weights = np.array([0.2 * 0.1 / 0.25, 0.3 * 0.7 / 0.5, 0.5 * 0.2 / 0.25])
    np.testing.assert_allclose(found[1], weights / weights.sum(), rtol=1e-6)
    assert reweighted(probabilities, tuple(PRIOR), PRIOR, PRIOR).dtype == np.float64


def test_a_finding_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="the prevalence of covid19 must be above 0; remove findings that cannot be"):
        reweighted(torch.ones(1, 3) / 3, tuple(PRIOR), PRIOR, PRIOR | {"covid19": 0})
    with pytest.raises(ValueError, match="the prior of other must be above 0"):
        reweighted(torch.ones(1, 1), ("other",), PRIOR, PRIOR)


def test_findings_that_the_calibration_lacks_must_all_be_stated():
    with pytest.raises(
        ValueError, match="^the calibration has no film of normal, pneumonia: state the prevalence of each$"
    ):
        complete_prevalence({"covid19": 0.1}, {"normal": 0.0, "pneumonia": 0.0, "covid19": 1.0})


def test_a_name_may_hold_commas():
    assert parse_prevalence("effusion, left=0.1, covid19=0.02") == {"effusion, left": 0.1, "covid19": 0.02}
