"""Any module of torch as an encoder: its output is the embedding."""

import torch
from torch import Tensor, nn

from fewshot_cxr._checks import class_name
from fewshot_cxr.encoders.base import Encoder, eval_mode
from fewshot_cxr.image_spec import ImageSpec

OWN = "module:"  # before the class's name, in the recipe of an encoder that no name builds


class OwnModule(Encoder):
    """A module from images to embeddings, in the place of the backbone.

    Its map has a single place, and no head follows. Grad-CAM looks at a layer of its own by name: "backbone.<layer>".

    Args:
        module: takes images as `image_spec` says and returns (N, dim).
        image_spec: what its images are.

    Raises:
        ValueError: it does not take such images, or returns something else.
    """

    def __init__(self, module: nn.Module, image_spec: ImageSpec) -> None:
        super().__init__(image_spec, n_features=_embedding_dim(module, image_spec), output="pooled")
        self.backbone = module

    def _feature_map(self, images: Tensor) -> Tensor:
        embeddings: Tensor = self.backbone(images)
        return embeddings[:, :, None, None]


def as_encoder(network: nn.Module, image_spec: ImageSpec | None) -> Encoder:
    """Return an encoder as it is, and any other module as an `OwnModule`; no weight changes.

    A file of `save_encoder` keeps the name of its class alone: `load_encoder` wants the module handed in again.

    Raises:
        TypeError: a module without an image spec, or what is no module.
        ValueError: see `OwnModule`.

    Examples:
        >>> network = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(16, 4))
        >>> encoder = as_encoder(network, ImageSpec(size_px=32))
        >>> encoder.embedding_dim, tuple(encoder(torch.zeros(2, 1, 32, 32)).shape)
        (4, (2, 4))
    """
    name = class_name(network)
    if not isinstance(network, nn.Module):
        raise TypeError(f"an encoder must be a module of torch, got {name}")
    if not isinstance(network, Encoder):
        if image_spec is None:
            raise TypeError(f"{name} does not say what its images are: give image_spec beside it")
        network = OwnModule(network, image_spec)
    network.recipe = network.recipe or {"encoder": f"{OWN}{name}", "options": {}}
    return network


def _embedding_dim(module: nn.Module, spec: ImageSpec) -> int:
    images = torch.zeros(2, spec.n_channels, spec.size_px, spec.size_px)
    name, first = class_name(module), next(module.parameters(), None)
    try:
        with torch.no_grad(), eval_mode(module):
            embeddings = module(images if first is None else images.to(first.device))
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{name} does not take images of shape {tuple(images.shape)}: {reason}") from error
    if not isinstance(embeddings, Tensor) or embeddings.ndim != 2 or len(embeddings) != 2:
        got = tuple(embeddings.shape) if isinstance(embeddings, Tensor) else type(embeddings).__name__
        raise ValueError(f"{name} must return embeddings of shape (N, dim), got {got} for N = 2")
    return embeddings.shape[1]
