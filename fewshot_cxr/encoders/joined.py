"""What a frozen network knows, kept, and beside it what the known findings teach: a head that is fitted at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from fewshot_cxr.encoders.base import Encoder

USUAL_KEEP = 2.0
# A direction whose spread is below this share of the usual one is left as it is: whitening would change it by 1 %.
_LEAST_SPREAD = 0.02
# A column that hardly varies over the training films says nothing of them, and must not rule the others on a new film.
_LEAST_SCALE = 0.05


class JoinedHead(nn.Module):
    """Pooled features in, (N, n_features + n_directions) out; compare its embeddings by euclidean distance.

    The first part is what the frozen network knows: each column standardised, differences within the known findings
    (the scanner, the pose, the patient) shrunk by whitening, and unit length. No direction is dropped, so that a
    finding that nobody knew still shows. The second part is what the known findings teach: where the first lies along
    the differences of their means, times `keep`.

    Args:
        n_features: width of the pooled features.
        n_basis: directions that are whitened.
        n_directions: of the second part.

    Attributes:
        keep: weight of the second part, the first's being 1; a tensor without dimension, saved with the others.

    Examples:
        >>> head = JoinedHead(n_features=4, n_basis=2, n_directions=1)
        >>> pooled = torch.tensor([[0.0, 3.0, 4.0, 0.0]])
        >>> round(head.kept(pooled)[0].norm().item(), 3), tuple(head(pooled).shape)
        (1.0, (1, 5))

    Source: within-class covariance normalisation, Hatch, Kajarekar, Stolcke, Interspeech 2006; shrunk as by Ledoit and
    Wolf, J. Multivariate Analysis 2004; the second part is Fisher's discriminant in the whitened space, Rao 1948.
    """

    centre: Tensor
    scale: Tensor
    basis: Tensor
    gain: Tensor
    keep: Tensor

    def __init__(self, n_features: int, n_basis: int, n_directions: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.register_buffer("basis", torch.zeros(n_basis, n_features))
        self.register_buffer("gain", torch.zeros(n_basis))
        self.register_buffer("keep", torch.tensor(USUAL_KEEP))
        self.directions = nn.Linear(n_features, n_directions, bias=False)

    def kept(self, pooled: Tensor) -> Tensor:
        """Return the first part, (N, n_features), each row of unit length."""
        standard = (pooled - self.centre) * self.scale
        return normalize(standard + (standard @ self.basis.T * self.gain) @ self.basis, dim=1)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return both parts side by side, (N, n_features + n_directions)."""
        kept = self.kept(pooled)
        return torch.cat([kept, self.keep * self.directions(kept)], dim=1)


def fit_joined_head(vectors: Tensor, class_ids: Tensor, widths: Sequence[int]) -> JoinedHead:
    """Fit the head to the films of the known findings, in closed form: no step is drawn, no epoch is chosen.

    Args:
        vectors: pooled features of the training films, float, shape (N, n_features).
        class_ids: finding of each, int64, shape (N,).
        widths: of the groups that the columns come in, such as layers of the network; each weighs the same.

    Raises:
        ValueError: fewer than two findings, or none with two films.

    Examples:
        >>> pooled = torch.tensor([[0.0, 1.0], [0.0, 3.0], [4.0, 1.0], [4.0, 3.0]])  # of normal, then of covid19
        >>> head = fit_joined_head(pooled, torch.tensor([0, 0, 1, 1]), widths=[2])
        >>> head.directions.weight.abs().round(decimals=3).tolist()  # they differ in the first column alone
        [[1.0, 0.0]]
    """
    _, labels, counts = torch.unique(class_ids, return_inverse=True, return_counts=True)
    if len(counts) < 2 or len(vectors) <= len(counts):
        raise ValueError(f"a joined head needs two findings and more films than findings, got {counts.tolist()} films")
    vectors = vectors.double()
    spreads = torch.split(vectors.std(dim=0), list(widths))
    units = [spread.clamp(min=_LEAST_SCALE * spread.mean()) * len(spread) ** 0.5 for spread in spreads]
    centre, scale = vectors.mean(dim=0), 1 / torch.cat(units)
    standard = (vectors - centre) * scale
    _, lengths, basis = torch.linalg.svd(standard - _means(standard, labels)[labels], full_matrices=False)
    n_free = len(vectors) - len(counts)
    variances = lengths[:n_free].square() / len(vectors)
    usual = variances.mean()
    used = variances > _LEAST_SPREAD * usual
    head = JoinedHead(vectors.shape[1], int(used.sum()), len(counts) - 1)
    head.centre.copy_(centre)
    head.scale.copy_(scale)
    head.basis.copy_(basis[:n_free][used])
    # Each direction is divided by sqrt(variance + usual): what varies much within a finding counts less.
    head.gain.copy_((usual / (variances[used] + usual)).sqrt() - 1)
    means = _means(head.kept(vectors.float()).double(), labels)
    directions = torch.linalg.svd(means - means.mean(dim=0), full_matrices=False).Vh[: len(counts) - 1]
    head.directions.weight.data.copy_(directions)
    return head


def join(encoder: Encoder, head: JoinedHead) -> None:
    """Put a joined head behind an encoder whose output is pooled, in place.

    Raises:
        ValueError: the encoder has a head already, or pools to another width.

    Examples:
        >>> from fewshot_cxr.encoders import build_encoder
        >>> encoder = build_encoder("resnet9", width=4, output="pooled")
        >>> encoder.embedding_dim
        32
        >>> join(encoder, JoinedHead(n_features=32, n_basis=8, n_directions=2))  # fitted to three findings
        >>> encoder.embedding_dim
        34
    """
    if not isinstance(encoder.head, nn.Identity):
        raise ValueError("the encoder has a head, which would stand between its features and the joined one")
    n_features, n_directions = head.directions.in_features, head.directions.out_features
    if n_features != encoder.n_features:
        raise ValueError(f"the encoder pools to {encoder.n_features} features, the joined head takes {n_features}")
    encoder.head = head
    encoder.embedding_dim = n_features + n_directions
    shape = {"n_basis": len(head.basis), "n_directions": n_directions}
    encoder.recipe = {**encoder.recipe, "options": {**encoder.recipe.get("options", {}), **shape}}


def join_as_told(encoder: Encoder, options: Mapping[str, Any]) -> None:
    """Put an empty joined head, for weights to be copied into, behind an encoder whose recipe tells of one."""
    if options.get("n_basis") is not None:
        join(encoder, JoinedHead(encoder.n_features, int(options["n_basis"]), int(options["n_directions"])))


def _means(vectors: Tensor, labels: Tensor) -> Tensor:
    sums = vectors.new_zeros(int(labels.max()) + 1, vectors.shape[1]).index_add(0, labels, vectors)
    return sums / labels.bincount().unsqueeze(1)
