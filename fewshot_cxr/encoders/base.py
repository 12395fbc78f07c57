"""What every encoder is: images to features to embeddings; layers that are frozen, and modes that are kept."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fewshot_cxr._checks import check_at_least, check_whole, lookup
from fewshot_cxr.image_spec import ImageSpec


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Hold a network in eval mode; afterwards every part of it is in the mode that it was in, error or not.

    Part by part: a partly frozen encoder holds some of its batch normalisations in eval mode while it trains, and the
    user may hold others.
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


def group_by_layer(network: nn.Module) -> list[list[nn.Parameter]]:
    """Divide the parameters of a network, each in one group, into stem, stages (of a transformer: blocks) and the rest.

    A network of timm says itself how it is to be divided; of any other, each child is a group.
    """
    matcher = getattr(network, "group_matcher", None)
    if matcher is not None:
        from timm.models import group_parameters

        groups = group_parameters(network, matcher(coarse=True), return_values=True)
        return [groups[number] for number in sorted(groups)]
    own = list(network.parameters(recurse=False))
    return [group for group in (own, *(list(child.parameters()) for child in network.children())) if group]


def hold_batch_norms(network: nn.Module, frozen: Iterable[nn.Parameter]) -> None:
    """Switch each batch normalisation whose weights are `frozen` to eval mode: it keeps the statistics it has."""
    held = {id(weight) for weight in frozen}
    for layer in network.modules():
        if isinstance(layer, _BatchNorm) and id(layer.weight) in held:
            layer.eval()


def not_finite(network: nn.Module) -> str | None:
    """Return the name of the first weight or buffer that holds NaN or infinity, as diverged trainings leave them.

    A buffer may hold minus infinity, as the masks of attention do.
    """
    for name, weight in network.named_parameters():
        if not weight.isfinite().all():
            return name
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point() and not (buffer.isfinite() | buffer.isneginf()).all():
            return name
    return None


def refuse_diverged(network: nn.Module, what: str) -> None:
    """Raise a ValueError that begins with `what` where a weight or a buffer is `not_finite`."""
    if name := not_finite(network):
        raise ValueError(
            f"{what} holds NaN or infinity, first in {name}: train it anew at a lower learning rate (--lr)"
        )


OUTPUTS = ("head", "pooled")
DEFAULT_EMBEDDING_DIM = 128
TASK_HEAD = "task_head"  # before a dot, the first part of the names that a task's head has in an encoder's file


class Encoder(nn.Module):
    """Images in, embeddings out, in three steps that can be taken one by one.

    `features(images)` turns (N, n_channels, S, S) into a map (N, c, h, w), which no later step changes in place, so
    that a heat map can be drawn from it and its gradient. `pool(features)` makes (N, n_features) of the map, and the
    head (dropout, then a linear layer) makes (N, embedding_dim) of that. `forward` is the three in a row.

    S need not be `image_spec.size_px`; sides from `min_size_px` up will do, unless an encoder says otherwise. In eval
    mode a row depends on its own image alone. The backbone lies in `backbone`, what follows the pooling in `head`.

    Where `image_spec.per_pixel` is set, images come scaled to 0..1 and of size_px alone: `features` subtracts the mean
    image of the training films and divides by their std image (`adopt_pixel_statistics`), both saved with the weights.

    A subclass calls `super().__init__` and builds `backbone`; it writes `_feature_map` where the map is not what the
    backbone returns, and `pool` where that is no average.

    Args:
        image_spec: how films become images; None takes ImageSpec's defaults. Its n_channels is 1 or 3.
        n_features: width of the pooled features.
        embedding_dim: width of the head's output; None takes 128. Not to be given with output="pooled".
        output: "head", or "pooled": the pooled features are the embeddings, there is no head.
        dropout: share of the pooled features that training drops.

    Attributes:
        recipe: {"encoder": name, "options": {...}}, from which `build_encoder` makes the same again; it sets this.
        card: what a training run says of its encoder; {} for one not trained.
        origin: what is known of the weights that it started from (`WeightFacts`); {} for random ones.
        n_frozen: how many of `layer_groups` are frozen; see `freeze`. No file keeps it.
        heat_layer: of the class: whose map Grad-CAM looks at unless told otherwise, "features" or a module's name.

    Examples:
        >>> from fewshot_cxr import build_encoder
        >>> encoder = build_encoder("resnet9", width=4, image_spec=ImageSpec(size_px=64), embedding_dim=16).eval()
        >>> features = encoder.features(torch.zeros(2, 1, 64, 64))  # of two films
        >>> pooled = encoder.pool(features)
        >>> [tuple(step.shape) for step in (features, pooled, encoder.head(pooled))]
        [(2, 32, 4, 4), (2, 32), (2, 16)]
    """

    backbone: nn.Module
    min_size_px: int = 1
    heat_layer: str = "features"

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
        check_at_least(dropout, 0, "dropout")
        if dropout >= 1:
            raise ValueError(f"dropout must be below 1, got {dropout}")
        self.dropout = nn.Dropout(dropout)
        self.head: nn.Module = nn.Identity() if output == "pooled" else nn.Linear(n_features, self.embedding_dim)
        self.recipe: dict[str, Any] = {}
        self.card: dict[str, Any] = {}
        self.origin: dict[str, Any] = {}
        self.n_frozen = 0
        if self.image_spec.per_pixel:
            shape = (1, 1, self.image_spec.size_px, self.image_spec.size_px)
            self.register_buffer("pixel_mean", torch.zeros(shape))
            self.register_buffer("pixel_std", torch.ones(shape))

    def features(self, images: Tensor) -> Tensor:
        """Return the feature map before pooling.

        Args:
            images: float, shape (N, n_channels, S, S), standardised as `image_spec` says.

        Returns:
            Shape (N, c, h, w).

        Raises:
            ValueError: another number of channels, integers, or images that are too small (with `per_pixel`: of another
                size than the mean image).
        """
        return self._feature_map(self._prepared(images))

    def pool(self, features: Tensor) -> Tensor:
        """Return the pooled features, shape (N, n_features), of a feature map."""
        return features.mean((2, 3))

    @property
    def pooled_widths(self) -> tuple[int, ...]:
        """Widths of the groups that the pooled features come in, such as layers of the network: here one group."""
        return (self.n_features,)

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

    def adopt_pixel_statistics(self, mean: np.ndarray | Tensor, std: np.ndarray | Tensor) -> None:
        """Take the mean and the std image of the training films.

        Args:
            mean: of the images scaled to 0..1, float, shape (size_px, size_px).
            std: of the same, above 0 everywhere.

        Raises:
            ValueError: `image_spec` does not ask for them, another shape, values that are not finite, or a std of 0.
        """
        if not self.image_spec.per_pixel:
            raise ValueError("the image spec is not per pixel, so the encoder has no mean image; set per_pixel=True")
        shape = (self.image_spec.size_px, self.image_spec.size_px)
        images = {"mean": torch.as_tensor(mean), "std": torch.as_tensor(std)}
        for name, image in images.items():
            if image.shape != shape:
                raise ValueError(f"the {name} image must have the shape {shape}, got {tuple(image.shape)}")
            if not image.isfinite().all():
                raise ValueError(f"the {name} image must be finite; leave out the films that are not")
        if images["std"].min() <= 0:
            raise ValueError("the std image must be above 0; give pixels that never change a small value")
        self.get_buffer("pixel_mean").copy_(images["mean"])
        self.get_buffer("pixel_std").copy_(images["std"])

    def layer_groups(self) -> list[list[nn.Parameter]]:
        """Return all parameters, each once, from the stem to the head.

        The groups are the backbone's stem, stages (of a transformer: blocks) and last layers; what stands between
        backbone and head, such as attention gates; and the head, if there is one.
        """
        backbone, head = group_by_layer(self.backbone), list(self.head.parameters())
        known = {id(weight) for weight in chain(head, *backbone)}
        between = [weight for weight in self.parameters() if id(weight) not in known]
        return [group for group in (*backbone, between, head) if group]

    def freeze(self, n_groups: int | None) -> None:
        """Hold the first layers still: no gradients, and batch normalisation keeps its statistics in training too.

        Args:
            n_groups: how many of `layer_groups`; None takes the whole backbone. All others are set free, so that 0
                frees everything.

        Raises:
            ValueError: there are not so many groups.
        """
        groups = self.layer_groups()
        if n_groups is None:
            n_groups = len(group_by_layer(self.backbone))
        check_whole(n_groups, "n_groups", 0)
        if n_groups > len(groups):
            raise ValueError(f"this encoder has {len(groups)} groups of layers to freeze, got {n_groups}")
        for number, group in enumerate(groups):
            for weight in group:
                weight.requires_grad_(number >= n_groups)
        self.n_frozen = n_groups
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch to training (or eval) mode; the batch normalisation of frozen layers stays in eval mode."""
        super().train(mode)
        if mode and self.n_frozen:
            hold_batch_norms(self, chain(*self.layer_groups()[: self.n_frozen]))
        return self

    def _feature_map(self, images: Tensor) -> Tensor:
        features: Tensor = self.backbone(images)
        return features

    def _prepared(self, images: Tensor) -> Tensor:
        self._check(images)
        if not self.image_spec.per_pixel:
            return images
        side = self.image_spec.size_px
        if images.shape[2:] != (side, side):
            raise ValueError(f"images must have the mean image's size, {side} px, got {tuple(images.shape[2:])}")
        return (images - self.get_buffer("pixel_mean")) / self.get_buffer("pixel_std")

    def _check(self, images: Tensor) -> None:
        n_channels = self.image_spec.n_channels
        if images.ndim != 4 or images.shape[1] != n_channels:
            raise ValueError(f"images must have the shape (N, {n_channels}, S, S), got {tuple(images.shape)}")
        if not images.is_floating_point():
            raise ValueError(f"images must be float, standardised as image_spec says, got {images.dtype}")
        if min(images.shape[2:]) < self.min_size_px:
            raise ValueError(f"images must be at least {self.min_size_px} px wide, got {tuple(images.shape[2:])}")
