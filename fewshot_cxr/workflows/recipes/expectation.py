"""Is a run of a recipe what the publication says? "consistent", "better" or "not reproduced", by an interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fewshot_cxr.evaluation import Result
from fewshot_cxr.metrics import Interval, wilson_interval

VERDICTS = ("consistent", "better", "not reproduced")


@dataclass(frozen=True)
class Published:
    """A published number, `[expected]` of a recipe's file.

    Args:
        number: of the result over all findings, such as "accuracy" or "auroc".
        value: 0..1.
        n_films: test films that it is a share of; 0: it is no share, or nobody says, and it stands without an interval.
    """

    number: str
    value: float
    n_films: int = 0

    @property
    def interval(self) -> Interval:
        """Wilson's 95 % over the published test films, as if each were of a patient of its own; else the value."""
        return wilson_interval(self.value * self.n_films, self.n_films) if self.n_films else (self.value, self.value)


@dataclass(frozen=True)
class Verdict:
    """How a run compares with the publication.

    Args:
        verdict: one of VERDICTS.
        published: the number as published.
        found: the same number of this run.
        ci95: of `found` over patients.
        difference: found less published.
        difference_ci95: of the difference; the test films of the two are taken as independent.
    """

    verdict: str
    published: Published
    found: float
    ci95: Interval
    difference: float
    difference_ci95: Interval

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values, the published interval among them."""
        return {**vars(self), "published": {**vars(self.published), "ci95": self.published.interval}}


def check_expected(
    published: Published | None,
    own: Sequence[str],
    readers: Sequence[str],
    *,
    smoke: bool,
    is_same_question: bool,
) -> Published:
    """Return what to compare with; refuse, before any work, a comparison that would say nothing.

    Args:
        published: the recipe's number.
        own: the readers of the publication's films.
        readers: those of this run.
        smoke: it is a trial.
        is_same_question: the findings are told apart as the recipe does.

    Raises:
        ValueError: the publication has no number to compare with, the films or the findings are others, or it is a
            trial.
    """
    if published is None:
        raise ValueError("--expect: the publication states no number that a run could be compared with")
    if smoke:
        raise ValueError("--expect compares a whole run with the publication; leave --smoke out")
    if set(readers) != set(own):
        wanted = " ".join(f"--data {reader}:PATH" for reader in own)
        raise ValueError(f"--expect needs the films of the publication: {wanted}")
    if not is_same_question:
        raise ValueError("--expect needs the findings of the publication; leave --set of `findings` and `read` out")
    return published


def compare_with_published(result: Result, published: Published) -> Verdict:
    """Compare a result with what was published.

    The interval of the difference joins those of the two numbers. A run is "better" or "not reproduced" where it lies
    above or below 0, else "consistent", which few films make easy: the interval says how easy.

    Raises:
        ValueError: the result lacks the number, or its interval over patients.

    Source: Newcombe, "Interval estimation for the difference between independent proportions", 1998, method 10; for
    other numbers Zou, Donner, "Construction of confidence limits about effect measures", 2008.
    """
    found = result.scores.overall.get(published.number)
    if found is None or found.ci95_patients is None:
        why = "this result has none" if found is None else found.reason
        raise ValueError(f"{published.number} with an interval over patients is needed to compare: {why}")
    (low, high), (least, most) = found.ci95_patients, published.interval
    gap = found.value - published.value
    ends = (
        gap - math.hypot(found.value - low, most - published.value),
        gap + math.hypot(high - found.value, published.value - least),
    )
    consistent, better, worse = VERDICTS
    verdict = better if ends[0] > 0 else worse if ends[1] < 0 else consistent
    return Verdict(verdict, published, found.value, (low, high), gap, ends)
