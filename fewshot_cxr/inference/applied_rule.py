"""A rule with its distance and options: the one place where exemplars of a bank, or of episodes, decide on films."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from fewshot_cxr._checks import lookup
from fewshot_cxr.inference.penalties import settled
from fewshot_cxr.inference.rules import RULES, TRANSDUCTIVE


@dataclass(frozen=True)
class AppliedRule:
    """A rule with its distance and options.

    Args:
        name: in RULES.
        distance: a name in DISTANCES.
        options: further keyword arguments of the rule.

    Raises:
        ValueError: an unknown rule.
    """

    name: str
    distance: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lookup(RULES, self.name, what="rule")

    @property
    def is_transductive(self) -> bool:
        """Whether a film's answer depends on the others that are asked with it."""
        return self.name in TRANSDUCTIVE

    def settled_on(self, support: Tensor, labels: Tensor, patients: np.ndarray) -> "AppliedRule":
        """Return it with a penalty that is to be chosen ("auto") chosen on a support; see `settled`."""
        return replace(self, options=settled(self.name, self.options, support, labels, patients))

    def __call__(self, support: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
        """Return the distances of queries to the classes of a support, of one bank or batched over episodes.

        Args:
            support: labelled embeddings, float, shape (..., n_support, dim).
            labels: class of each, int64, shape (n_support,).
            queries: float, shape (..., n_queries, dim).

        Returns:
            Shape (..., n_queries, n_way); smaller is closer.
        """
        return RULES[self.name](support, labels, queries, distance=self.distance, **self.options)
