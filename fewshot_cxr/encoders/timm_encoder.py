"""Any network of timm as an encoder, with weights from a file or from the hub."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_cxr._checks import nearest
from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.encoders.hub import asking_the_hub
from fewshot_cxr.image_spec import ImageSpec


class TimmEncoder(Encoder):
    """A convolutional network or a vision transformer of timm, without its classifier.

    Of a transformer the map holds the patch tokens, and pooling averages them: the class token is left out, so that
    the embedding follows from the map.

    Args:
        name: as timm gives it, "resnet18" or, with a choice of published weights, "resnet18.a1_in1k".
        image_spec: how films become images; see `Encoder`. With published weights, their mean
            and std are taken unless the spec names its own.
        embedding_dim: width of the head; see `Encoder`.
        output: "head" or "pooled"; see `Encoder`.
        dropout: share of the pooled features; see `Encoder`.
        pretrained: take the published weights from timm's hub; for one channel, the first filters are summed.

    Raises:
        ValueError: timm has no such network, it has no published weights, or it does not take this image size.
        OSError: the weights cannot be downloaded.
    """

    def __init__(
        self,
        name: str,
        image_spec: ImageSpec | None = None,
        *,
        pretrained: bool = False,
        embedding_dim: int | None = None,
        output: str = "head",
        dropout: float = 0.0,
    ) -> None:
        backbone: Any = create_backbone(name, image_spec or ImageSpec(), pretrained=pretrained)
        # A class token or registers come before the patches.
        self._n_prefix = int(getattr(backbone, "num_prefix_tokens", 0))
        n_features = int(backbone.num_features if self._n_prefix else backbone.head_hidden_size)
        super().__init__(image_spec, n_features=n_features, embedding_dim=embedding_dim, output=output, dropout=dropout)
        self.backbone: Any = backbone
        self._name = name
        self._layout = self._find_layout()
        if pretrained:
            self.adopt_statistics(backbone.pretrained_cfg["mean"], backbone.pretrained_cfg["std"])

    def pool(self, features: Tensor) -> Tensor:
        """Return what timm's own head makes of the map; where there is a class token, the mean of the patch tokens."""
        if self._n_prefix:
            norm: nn.Module = getattr(self.backbone, "fc_norm", None) or nn.Identity()
            pooled: Tensor = norm(features.mean((2, 3)))
            return pooled
        if self._layout == "NLC":
            features = features.flatten(2).transpose(1, 2)
        elif self._layout == "NHWC":
            features = features.permute(0, 2, 3, 1)
        pooled = self.backbone.forward_head(features, pre_logits=True)
        return pooled.flatten(1)

    def _feature_map(self, images: Tensor) -> Tensor:
        raw = self._raw_features(images)
        if self._layout == "NCHW":
            return raw
        if self._layout == "NHWC":
            return raw.permute(0, 3, 1, 2)
        tokens = raw[:, self._n_prefix :]
        height, width = images.shape[2:]
        n_rows = round((tokens.shape[1] * height / width) ** 0.5)
        if not n_rows or tokens.shape[1] % n_rows:
            raise ValueError(f"timm:{self._name} makes {tokens.shape[1]} tokens of an image, which fill no grid")
        return tokens.transpose(1, 2).reshape(len(tokens), -1, n_rows, tokens.shape[1] // n_rows)

    def _raw_features(self, images: Tensor) -> Tensor:
        try:
            raw: Tensor = self.backbone.forward_features(images)
        except AssertionError as error:  # timm's way to refuse a size
            raise ValueError(self._refusal(images, error)) from error
        return raw

    def _refusal(self, images: Tensor, error: Exception) -> str:
        return f"timm:{self._name} does not take images of {tuple(images.shape[2:])} px: {error}"

    def _find_layout(self) -> str:
        """Try one empty image: timm does not say how a network lays out its features, nor which sizes it takes."""
        size_px = self.image_spec.size_px
        images = torch.zeros(1, self.image_spec.n_channels, size_px, size_px)
        self.backbone.eval()
        try:
            with torch.no_grad():
                raw = self._raw_features(images)
        except RuntimeError as error:
            raise ValueError(self._refusal(images, error)) from error
        self.backbone.train()
        if raw.ndim == 3:
            return "NLC"
        width = self.backbone.num_features
        is_said = getattr(self.backbone, "output_fmt", "") == "NHWC"
        return "NHWC" if raw.shape[3] == width and (is_said or raw.shape[1] != width) else "NCHW"


def create_backbone(name: str, image_spec: ImageSpec, *, pretrained: bool, **options: Any) -> nn.Module:
    """Create a network of timm without its classifier, for the channels and the size of `image_spec`.

    `options` are the network's own, as timm knows them.

    Raises:
        ValueError: timm has no such network, or it has no published weights.
        OSError: the weights cannot be downloaded.
    """
    import timm

    config = published_config(name)
    if pretrained and not config.has_weights:
        raise ValueError(
            f"timm:{name} has no published weights; leave out --pretrained, or give a file: --weights FILE"
        )
    # Transformers are built at the size their weights were made for, and stretch their positions to any other.
    sizes: list[dict[str, Any]] = [{}]
    if config.fixed_input_size:
        sizes = [{"dynamic_img_size": True}, {"img_size": image_spec.size_px}]
    for size in sizes:
        try:
            with asking_the_hub() if pretrained else nullcontext():
                backbone: nn.Module = timm.create_model(
                    name, pretrained=pretrained, num_classes=0, in_chans=image_spec.n_channels, **options, **size
                )
            return backbone
        except TypeError:
            if size is sizes[-1]:
                raise
        except (OSError, RuntimeError) as error:
            if not pretrained:
                raise
            reason = str(error).partition("\n")[0]
            raise OSError(
                f"the weights of timm:{name} cannot be downloaded ({type(error).__name__}: {reason}); "
                "fetch the file elsewhere and name it: --weights FILE"
            ) from error
    raise AssertionError("the last size returns or raises")


def published_config(name: str) -> Any:
    """Return what timm says of a network and its published weights.

    Raises:
        ValueError: timm has no such network, or no such weights of it.
    """
    import timm

    if not timm.is_model(name):
        close = nearest(name, timm.list_models())
        raise ValueError(f"timm has no network {name!r:.200}{close}; timm.list_models() names them all")
    try:
        return timm.models.get_pretrained_cfg(name)
    except RuntimeError as error:
        known = timm.list_models(name.split(".")[0], pretrained=True)
        raise ValueError(
            f"timm has no weights {name!r}{nearest(name, known)}; there are: {', '.join(known)}"
        ) from error
