"""A bank is balanced, a clinic is not: probabilities at a stated prevalence."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from fewshot_cxr._checks import nearest
from fewshot_cxr._visible import one_form

_ROUNDING = 1e-6


def parse_prevalence(text: str) -> dict[str, float]:
    """Return `covid19=0.02,pneumonia=0.1` as finding -> prevalence.

    Args:
        text: of an option; a share is 0..1.

    Raises:
        ValueError: a part is no NAME=SHARE, or a finding comes twice.

    Examples:
        >>> parse_prevalence("covid19=0.02, pneumonia=0.1")
        {'covid19': 0.02, 'pneumonia': 0.1}
        >>> parse_prevalence("effusion, left=0.1")
        {'effusion, left': 0.1}
    """
    stated: dict[str, float] = {}
    # A comma ends a part only behind its share: a name may hold some.
    for part in re.findall(r"[^=]*(?:=[^,]*)?(?:,|$)", text)[:-1] or [text]:
        name, _, share = (piece.strip() for piece in one_form(part).removesuffix(",").rpartition("="))
        try:
            value = float(share)
        except ValueError:
            value = float("nan")
        if not name or not np.isfinite(value):
            raise ValueError(f"a prevalence is NAME=SHARE, such as covid19=0.02, got {part.strip()!r}")
        if name in stated:
            raise ValueError(f"the prevalence of {name} is stated twice")
        stated[name] = value
    return stated


def complete_prevalence(stated: Mapping[str, float], prior: Mapping[str, float]) -> dict[str, float]:
    """Return the prevalence of every finding: what is not stated shares the rest, in proportion to the prior.

    Args:
        stated: finding -> prevalence, each above 0 and below 1.
        prior: share of each finding of the bank among the calibration patients.

    Returns:
        In the order of the prior; together 1.

    Raises:
        ValueError: an unknown finding, a prevalence that cannot be, or more than 1 in all (less, where all are stated).

    Examples:
        >>> complete_prevalence({"covid19": 0.02}, {"normal": 0.25, "pneumonia": 0.25, "covid19": 0.5})
        {'normal': 0.49, 'pneumonia': 0.49, 'covid19': 0.02}
    """
    for name, share in stated.items():
        if name not in prior:
            raise ValueError(f"no finding of the bank is {name!r}{nearest(name, prior)}; it has {', '.join(prior)}")
        if not 0 < share < 1:
            raise ValueError(f"the prevalence of {name} must be above 0 and below 1, got {share}")
    total, others = sum(stated.values()), {name: share for name, share in prior.items() if name not in stated}
    if not others:
        if abs(total - 1) > _ROUNDING:
            raise ValueError(f"the prevalences of all findings must be together 1, got {total:g}; leave one out")
        return {name: stated[name] / total for name in prior}
    if total > 1 - _ROUNDING:
        raise ValueError(f"the stated prevalences must leave something for {', '.join(others)}, got {total:g} in all")
    if not sum(others.values()) > 0:
        raise ValueError(f"the calibration has no film of {', '.join(others)}: state the prevalence of each")
    rest = (1 - total) / sum(others.values())
    return {name: stated[name] if name in stated else rest * share for name, share in prior.items()}


def reweighted(
    probabilities: np.ndarray, findings: Sequence[str], prior: Mapping[str, float], prevalence: Mapping[str, float]
) -> np.ndarray:
    """Return the probabilities that hold at another prevalence, where the findings look the same.

    Args:
        probabilities: of each finding at the prior, shape (..., n_way).
        findings: names of the columns.
        prior: share of each finding that the probabilities take for granted, above 0.
        prevalence: share of each finding where the films come from, above 0.

    Returns:
        float64, same shape, sum 1.

    Raises:
        ValueError: a finding has no prior or prevalence above 0.

    Examples:
        >>> balanced, clinic = {"normal": 0.5, "covid19": 0.5}, {"normal": 0.98, "covid19": 0.02}
        >>> reweighted(np.array([0.1, 0.9]), ["normal", "covid19"], balanced, clinic).round(3).tolist()
        [0.845, 0.155]

    Source: Saerens, Latinne, Decaestecker, "Adjusting the Outputs of a Classifier to New a Priori Probabilities", 2002,
    eq. 2.4.
    """
    for told, shares in (("prior", prior), ("prevalence", prevalence)):
        absent = [name for name in findings if not shares.get(name, 0) > 0]
        if absent:
            raise ValueError(f"the {told} of {', '.join(absent)} must be above 0; remove findings that cannot be")
    weights = np.asarray(probabilities, dtype=np.float64) * [prevalence[name] / prior[name] for name in findings]
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))
