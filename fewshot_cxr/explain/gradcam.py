"""Grad-CAM: which places of a layer's map raise a target."""

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fewshot_cxr._checks import nearest
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.explain.forward import as_heat, constant, frozen, own_precision
from fewshot_cxr.explain.targets import Similarity, Target

FEATURES = "features"
_N_NAMED = 5  # of the layers that would do, in a message


def grad_cam(encoder: Encoder, images: Tensor, target: Target, *, layer: str | None = None) -> np.ndarray:
    """Map what raises a target: heat = relu(sum_k w_k A_k), w_k the gradient at channel k averaged over its places.

    Computed in the encoder's own precision, autocast or not. The encoder is as before afterwards: no hook, mode, flag
    or gradient is left on it.

    Args:
        encoder: in eval mode or not, frozen or not.
        images: float, shape (N, n_channels, S, S), N at least 1, standardised as `encoder.image_spec` says, on the
            encoder's device.
        target: of the embeddings; a film's score must not depend on the other films.
        layer: whose map is looked at: "features", the map before pooling; or the dotted name of a module, one of
            `map_layers`. None takes the encoder's own, `encoder.heat_layer`.

    Returns:
        Heat, float32, shape (N, S, S), 0 or above, in the target's unit; 0 everywhere where nothing raises it. A map
        of a single place gives flat heat.

    Raises:
        ValueError: unknown layer, or one whose output is no map; a target that gives no (N,) with a gradient; images
            that the encoder refuses.

    Examples:
        >>> from fewshot_cxr import ImageSpec
        >>> from fewshot_cxr.encoders import as_encoder
        >>> encoder = as_encoder(nn.Sequential(nn.AvgPool2d(4), nn.Flatten()), ImageSpec(size_px=8))
        >>> film = torch.zeros(1, 1, 8, 8)
        >>> film[0, 0, 4:, :4] = 1  # a bright shadow, lower left
        >>> heat = grad_cam(encoder, film, lambda embeddings: embeddings.sum(dim=1), layer="backbone.0")
        >>> heat[0, [0, 7]][:, [0, 7]].tolist()  # of the four corners
        [[0.0, 0.0], [1.0, 0.0]]

    Source: Selvaraju et al., "Grad-CAM", 2017, arXiv:1610.02391, eq. 1 and 2; the resizing is bilinear.
    """
    from captum.attr import LayerGradCam  # type: ignore[import-untyped]  # it ships no types

    if not len(images):
        raise ValueError("Grad-CAM needs an image, got none")
    name = encoder.heat_layer if layer is None else layer
    with own_precision(images.device, needs_gradient=True), frozen(encoder):
        images = constant(images)
        scores = _Scores(encoder, target)
        if name != FEATURES:
            _check_layer(encoder, images, name)
        chosen = scores.map if name == FEATURES else encoder.get_submodule(name)
        maps = LayerGradCam(scores, chosen).attribute(images, relu_attributions=True)
        return as_heat(maps.squeeze(1), images)


def pair_maps(
    encoder: Encoder, one: Tensor, other: Tensor, *, distance: str = "euclidean", layer: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Map what makes two films alike, on both of them.

    Args:
        encoder: as for `grad_cam`.
        one: images, float, shape (N, n_channels, S, S).
        other: as many of the same size; row i of the one is compared with row i of the other.
        distance: a name in DISTANCES.
        layer: as for `grad_cam`.

    Returns:
        Heat of the one and of the other, as of `grad_cam`, in the unit of `Similarity`; flat where two films have the
        same embedding.

    Raises:
        ValueError: as for `grad_cam`; unknown distance, or the two differ in shape.

    Examples:
        >>> from fewshot_cxr.encoders import build_encoder
        >>> encoder = build_encoder("resnet9", width=4)
        >>> heat, heat_of_other = pair_maps(encoder, torch.zeros(2, 1, 64, 64), torch.rand(2, 1, 64, 64))
        >>> heat.shape, heat_of_other.shape, bool(heat.min() >= 0)
        ((2, 64, 64), (2, 64, 64), True)
    """
    if one.shape != other.shape:
        raise ValueError(f"pairs need as many films of one size, got {tuple(one.shape)} and {tuple(other.shape)}")
    n_pairs = len(one)

    def likeness(embeddings: Tensor) -> Tensor:
        return Similarity(embeddings.detach().roll(n_pairs, dims=0), distance)(embeddings)

    heat = grad_cam(encoder, torch.cat([one, other]), likeness, layer=layer)
    return heat[:n_pairs], heat[n_pairs:]


def map_layers(encoder: Encoder, images: Tensor) -> list[str]:
    """Return the names of the modules whose output is a map of several places, in the order of the network.

    Args:
        encoder: left as it was.
        images: one will do, float, shape (N, n_channels, S, S).

    Examples:
        >>> from fewshot_cxr.encoders import build_encoder
        >>> encoder = build_encoder("resnet9", width=4)
        >>> names = map_layers(encoder, torch.zeros(1, 1, 64, 64))
        >>> [name for name in names if name.count(".") == 1][-3:]
        ['backbone.7', 'backbone.8', 'backbone.9']
    """
    names: set[str] = set()

    def note(name: str, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            names.add(name)

    modules = {name: module for name, module in encoder.named_modules() if name}
    with ExitStack() as hooks, own_precision(images.device, needs_gradient=False), frozen(encoder):
        for name, module in modules.items():
            hooks.enter_context(module.register_forward_hook(lambda _, __, output, name=name: note(name, output)))
        encoder(images)
    return [name for name in modules if name in names]


class _Scores(nn.Module):
    """Images to the target's numbers, by way of a layer through which every encoder's map passes."""

    def __init__(self, encoder: Encoder, target: Target) -> None:
        super().__init__()
        self.encoder, self.target, self.map = encoder, target, nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        encoder = self.encoder
        features = self.map(encoder.features(images))
        scores = self.target(encoder.head(encoder.dropout(encoder.pool(features))))
        if scores.shape != images.shape[:1]:
            raise ValueError(f"the target must give one number per film, ({len(images)},), got {tuple(scores.shape)}")
        if not scores.requires_grad:
            raise ValueError("the target has lost its gradient; compute it from the embeddings by torch, undetached")
        return scores


def _check_layer(encoder: Encoder, images: Tensor, name: str) -> None:
    fitting = map_layers(encoder, images[:1])
    if name in fitting:
        return
    modules = [known for known, _ in encoder.named_modules() if known]
    if name not in modules:
        raise ValueError(f"the encoder has no layer {name!r}{nearest(name, (FEATURES, *modules))}; {_choice(fitting)}")
    raise ValueError(f"layer {name!r} gives no map (N, c, h, w) of several places; {_choice(fitting)}")


def _choice(fitting: list[str]) -> str:
    """Name the last of those layers that lie least deep: whole stages rather than what they are made of."""
    shallow = sorted(fitting, key=lambda name: (name.count("."), -fitting.index(name)))[:_N_NAMED]
    return f"there are: {', '.join([FEATURES, *sorted(shallow, key=fitting.index)])}"
