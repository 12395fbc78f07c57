"""Self-supervised terms beside a loss: two augmented views of a film belong together, two films do not.

A loss on findings lets the encoder forget all that the known findings do not need, and what tells a new finding from
them may be part of that. To recognise a film among all others, the encoder must keep what tells films apart.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewshot_cxr._checks import check_above, check_at_least, lookup
from fewshot_cxr.torch_seeding import seeded_torch

_Term = Callable[[Tensor, Tensor], Tensor]
"""term(projected views (N, dim), projected other views (N, dim)) -> scalar"""

_PROJECTED_DIM = 128
_SMALL_VARIANCE = 1e-4


def _simclr(*, temperature: float = 0.2) -> _Term:
    check_above(temperature, 0, "temperature")

    def term(one: Tensor, other: Tensor) -> Tensor:
        rows = functional.normalize(torch.cat([one, other]), dim=1)
        logits = (rows @ rows.T / temperature).fill_diagonal_(-torch.inf)
        partners = torch.arange(len(rows), device=rows.device).roll(len(one))
        return functional.cross_entropy(logits, partners)

    return term


def _vicreg(*, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> _Term:
    def term(one: Tensor, other: Tensor) -> Tensor:
        total = invariance * functional.mse_loss(one, other)
        for rows in (one, other):
            spread = (rows.var(dim=0) + _SMALL_VARIANCE).sqrt()
            total = total + variance * (1 - spread).relu().mean() / 2
            centred = rows - rows.mean(dim=0)
            products = centred.T @ centred / (len(rows) - 1)
            total = total + covariance * (products.square().sum() - products.diagonal().square().sum()) / rows.shape[1]
        return total

    return term


AUXILIARIES: dict[str, Callable[..., _Term]] = {"simclr": _simclr, "vicreg": _vicreg}


class Auxiliary(nn.Module):
    """A self-supervised term with the projector that it is measured behind, in float32, mixed precision or not.

    The projector may throw away what the term wants gone; the features before it keep that.

    Args:
        term: of two projected views.
        dim: of the features.

    Examples:
        >>> from torch.nn import functional
        >>> auxiliary = Auxiliary(functional.mse_loss, dim=8)
        >>> views = torch.rand(4, 8)
        >>> round(auxiliary(views, views).item(), 3)  # both views of each film are one and the same
        0.0
    """

    def __init__(self, term: Callable[[Tensor, Tensor], Tensor], *, dim: int) -> None:
        super().__init__()
        self.term = term
        self.projector = nn.Sequential(
            nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, _PROJECTED_DIM)
        )

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the term for one batch.

        Args:
            one: pooled features of one view of N films, float, shape (N, dim).
            other: those of another view of the same films, rows in the same order.

        Returns:
            float32, shape ().

        Raises:
            ValueError: fewer than two films, of which neither term can say anything.
        """
        check_at_least(len(one), 2, "films in a batch of a self-supervised term")
        with torch.autocast(one.device.type, enabled=False):
            # Both views at once: batch norm must not tell the projector which view it sees.
            projected = self.projector(torch.cat([one, other]).float())
            return self.term(*projected.chunk(2))


def build_auxiliary(name: str, *, dim: int, seed: int, **options: Any) -> Auxiliary:
    """Build a self-supervised term.

    Args:
        name: in AUXILIARIES. simclr: the cross-entropy of each view finding its other view among all views of the
            batch by cosine (NT-Xent, Chen et al. 2020, arXiv:2002.05709, eq. 1). vicreg: views agree, each coordinate
            spreads by 1 or more, no two go together (Bardes et al. 2022, arXiv:2105.04906, eq. 6, with the means of
            its published code: over the coordinates too in the first term, over both views in the second).
        dim: of the pooled features that it will see.
        seed: of the projector's first weights.
        options: temperature of simclr; invariance, variance and covariance (weights) of vicreg; a misspelt one is
            Python's own TypeError.

    Raises:
        ValueError: unknown term, or temperature not above 0.

    Examples:
        >>> auxiliary = build_auxiliary("simclr", dim=8, seed=0)
        >>> views = torch.ones(2, 8)
        >>> round(auxiliary(views, views).item(), 3)  # log 3: any of three other views may be the one
        1.099
    """
    term = lookup(AUXILIARIES, name, what="auxiliary")(**options)
    with seeded_torch(seed, "auxiliary"):
        return Auxiliary(term, dim=dim)
