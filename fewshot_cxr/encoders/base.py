"""The contract that every encoder keeps, and what all of them share."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from fewshot_cxr._checks import check_at_least, lookup
from fewshot_cxr.image_spec import ImageSpec

OUTPUTS = ("head", "pooled")
DEFAULT_EMBEDDING_DIM = 128


class Encoder(nn.Module, ABC):
    """Images in, embeddings out, in three steps that can be taken one by one.

    `features(images)` turns (N, n_channels, S, S) into a map (N, c, h, w), which no later step changes in place, so
    that a heat map can be drawn from it and its gradient. `pool(features)` makes (N, n_features) of the map, and the
    head (dropout, then a linear layer) makes (N, embedding_dim) of that. `forward` is the three in a row.

    S need not be `image_spec.size_px`; sides from `min_size_px` up will do, unless an encoder says otherwise. In eval
    mode a row depends on its own image alone. The backbone lies in `backbone`, what follows the pooling in `head`.

    A subclass calls `super().__init__`, builds `backbone`, and writes `_feature_map`; `pool` where it is no average.

    Args:
        image_spec: how films become images; None takes ImageSpec's defaults. Its n_channels is 1 or 3.
        n_features: width of the pooled features.
        embedding_dim: width of the head's output; None takes 128. Not to be given with output="pooled".
        output: "head", or "pooled": the pooled features are the embeddings, there is no head.
        dropout: share of the pooled features that training drops.

    Attributes:
        recipe: {"encoder": name, "options": {...}}, from which `build_encoder` makes the same again; it sets this.
        card: what a training run says of its encoder; {} for one not trained.
    """

    backbone: nn.Module
    min_size_px: int = 1

    def __init__(
        self,
        image_spec: ImageSpec | None,
        *,
        n_features: int,
        embedding_dim: int | None = None,
        output: str = "head",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        lookup(dict.fromkeys(OUTPUTS), output, what="output")
        if output == "pooled" and embedding_dim not in (None, n_features):
            raise ValueError(f"embedding_dim is {n_features} with output='pooled', got {embedding_dim}; leave it out")
        self.image_spec = ImageSpec() if image_spec is None else image_spec
        check_at_least(self.image_spec.size_px, self.min_size_px, "size_px of this encoder")
        self.n_features = n_features
        if output == "pooled":
            self.embedding_dim = n_features
        else:
            self.embedding_dim = DEFAULT_EMBEDDING_DIM if embedding_dim is None else embedding_dim
        check_at_least(self.embedding_dim, 1, "embedding_dim")
        self.dropout = nn.Dropout(dropout)
        self.head: nn.Module = nn.Identity() if output == "pooled" else nn.Linear(n_features, self.embedding_dim)
        self.recipe: dict[str, Any] = {}
        self.card: dict[str, Any] = {}

    def features(self, images: Tensor) -> Tensor:
        """Return the feature map before pooling.

        Args:
            images: float, shape (N, n_channels, S, S), standardised as `image_spec` says.

        Returns:
            Shape (N, c, h, w).

        Raises:
            ValueError: another number of channels, integers, or images that are too small.
        """
        self._check(images)
        return self._feature_map(images)

    def pool(self, features: Tensor) -> Tensor:
        """Return the pooled features, shape (N, n_features), of a feature map."""
        return features.mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Return embeddings, shape (N, embedding_dim); images and errors as for `features`."""
        embeddings: Tensor = self.head(self.dropout(self.pool(self.features(images))))
        return embeddings

    def adopt_statistics(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Take the mean and std that loaded weights were trained with, unless `image_spec` names its own.

        ImageSpec's own defaults count as naming none. One channel takes the average over several.
        """
        default = ImageSpec()
        if (self.image_spec.mean, self.image_spec.std) != (default.mean, default.std):
            return
        if self.image_spec.n_channels == 1:
            mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
        self.image_spec = replace(self.image_spec, mean=tuple(mean), std=tuple(std))

    @abstractmethod
    def _feature_map(self, images: Tensor) -> Tensor: ...

    def _check(self, images: Tensor) -> None:
        n_channels = self.image_spec.n_channels
        if images.ndim != 4 or images.shape[1] != n_channels:
            raise ValueError(f"images must have the shape (N, {n_channels}, S, S), got {tuple(images.shape)}")
        if not images.is_floating_point():
            raise ValueError(f"images must be float, standardised as image_spec says, got {images.dtype}")
        if min(images.shape[2:]) < self.min_size_px:
            raise ValueError(f"images must be at least {self.min_size_px} px wide, got {tuple(images.shape[2:])}")
