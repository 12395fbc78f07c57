"""Any network of timm as an encoder, with weights from a file or from the hub."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_cxr._checks import lookup, nearest
from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.encoders.hub import asking_the_hub
from fewshot_cxr.encoders.stages import pool_stages, stage_map, stage_widths
from fewshot_cxr.image_spec import ImageSpec

_STAGES = "stages"
POOLS = ("native", "cls", "mean", "cls+mean", _STAGES)
_OWN = "own"  # by the network's own head
_HEAT = "last_patches"


@dataclass(frozen=True)
class Network:
    """A network of timm that is built otherwise than its name says.

    Args:
        name: as timm gives it.
        arguments: of timm's function beside the usual.
        n_projected: width of a linear layer without bias behind the pooling; 0: there is none.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    n_projected: int = 0


class TimmEncoder(Encoder):
    """A convolutional network or a vision transformer of timm, without its classifier.

    Of a transformer the map holds the patch tokens. Where the pooling reads class tokens too, they stand behind the
    channels of the patches, alike at every place, so that the embedding follows from the map; heat is then looked for
    among the patches that the last block reads.

    Args:
        name: as timm gives it, "resnet18" or, with a choice of published weights, "resnet18.a1_in1k"; or a `Network`.
        image_spec: how films become images; see `Encoder`. With published weights, their mean
            and std are taken unless the spec names its own.
        pool: what is read. "native" is what the network's makers read (of a transformer its class token, attention
            pooling or mean); "cls" the class token; "mean" the mean of the patches, or of the map; or "cls+mean", one
            behind the other; "stages" the mean and spread of each channel of the last stages (see `stage_map`).
        embedding_dim: width of the head; see `Encoder`.
        output: "head" or "pooled"; see `Encoder`.
        dropout: share of the pooled features; see `Encoder`.
        pretrained: take the published weights from timm's hub; for one channel, the first filters are summed.

    Raises:
        ValueError: timm has no such network, it has no published weights, no class token, or it does not take this
            image size.
        OSError: the weights cannot be downloaded.

    Examples:
        >>> encoder = TimmEncoder("resnet18", ImageSpec(size_px=64), output="pooled").eval()
        >>> tuple(encoder(torch.zeros(2, 1, 64, 64)).shape)  # of two films
        (2, 512)
    """

    def __init__(
        self,
        name: str | Network,
        image_spec: ImageSpec | None = None,
        *,
        pretrained: bool = False,
        pool: str = "native",
        embedding_dim: int | None = None,
        output: str = "head",
        dropout: float = 0.0,
    ) -> None:
        lookup(dict.fromkeys(POOLS), pool, what="pool")
        network = name if isinstance(name, Network) else Network(name)
        spec = image_spec or ImageSpec()
        backbone: Any = create_backbone(network.name, spec, pretrained=pretrained, **network.arguments)
        # Class tokens and registers come before the patches.
        self._n_prefix = int(getattr(backbone, "num_prefix_tokens", 0))
        self._pool = _native_pool(network.name, backbone) if pool == "native" else pool
        if "cls" in self._pool and getattr(backbone, "cls_token", None) is None:
            raise ValueError(f"timm:{network.name} has no class token to pool: take pool native or mean")
        width = int(backbone.head_hidden_size if self._pool == _OWN else backbone.num_features)
        self._widths: tuple[int, ...] = (width * (2 if self._pool == "cls+mean" else 1),)
        if self._pool == _STAGES:
            self._widths = stage_widths(backbone, torch.zeros(1, spec.n_channels, spec.size_px, spec.size_px))
        n_read = sum(self._widths)
        n_projected = network.n_projected if pool == "native" else 0
        super().__init__(
            spec, n_features=n_projected or n_read, embedding_dim=embedding_dim, output=output, dropout=dropout
        )
        self.backbone: Any = backbone
        self.projection: nn.Module = nn.Linear(n_read, n_projected, bias=False) if n_projected else nn.Identity()
        self._name = network.name
        self._layout = self._find_layout()
        self._show_patches()
        if pretrained:
            self.adopt_statistics(backbone.pretrained_cfg["mean"], backbone.pretrained_cfg["std"])

    @property
    def pooled_widths(self) -> tuple[int, ...]:
        """Widths of the groups that the pooled features come in: with pool "stages" one for each layer's means, ..."""
        return self._widths if self._pool == _STAGES else (self.n_features,)

    def pool(self, features: Tensor) -> Tensor:
        """Return what the pooling reads of the map; see the class."""
        pooled: Tensor
        if self._pool == _STAGES:
            return pool_stages(features)
        if self._pool == _OWN:
            pooled = self.backbone.forward_head(self._as_timm_has_it(features), pre_logits=True).flatten(1)
        elif not self._n_prefix:
            pooled = features.mean((2, 3))
        else:
            norm: nn.Module = getattr(self.backbone, "fc_norm", None) or nn.Identity()
            patches, carried = self._parts(features)
            read = {"cls": lambda: carried[:, 0], "mean": lambda: patches.mean((2, 3))}
            pooled = torch.cat([norm(read[part]()) for part in self._pool.split("+")], dim=1)
        projected: Tensor = self.projection(pooled)
        return projected

    def pool_as_before(self) -> None:
        """Pool the patches alone where there is a class token, as encoders of before `pool` was an option do."""
        if self._n_prefix:
            self._pool, self.heat_layer = "mean", "features"

    @property
    def _n_carried(self) -> int:
        """How many of the tokens before the patches the map carries."""
        return self._n_prefix if self._pool == _OWN else int("cls" in self._pool)

    def _parts(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the patches (N, c, h, w), and the tokens that are carried, (N, n, c)."""
        n_channels = features.shape[1] // (1 + self._n_carried)
        carried = features[:, n_channels:, 0, 0].reshape(features.shape[0], self._n_carried, n_channels)
        return features[:, :n_channels], carried

    def _as_timm_has_it(self, features: Tensor) -> Tensor:
        if self._layout == "NLC":
            patches, carried = self._parts(features) if self._n_carried else (features, None)
            tokens = patches.flatten(2).transpose(1, 2)
            return tokens if carried is None else torch.cat([carried, tokens], dim=1)
        return features.permute(0, 2, 3, 1) if self._layout == "NHWC" else features

    def _feature_map(self, images: Tensor) -> Tensor:
        if self._pool == _STAGES:
            return stage_map(self.backbone, images)
        raw = self._raw_features(images)
        if self._layout == "NCHW":
            return raw
        if self._layout == "NHWC":
            return raw.permute(0, 3, 1, 2)
        patches = _as_map(raw[:, self._n_prefix :], images.shape[2] / images.shape[3])
        if patches is None:
            n_tokens = raw.shape[1] - self._n_prefix
            raise ValueError(f"timm:{self._name} makes {n_tokens} tokens of an image, which fill no grid")
        if not self._n_carried:
            return patches
        carried = raw[:, : self._n_carried].flatten(1)[:, :, None, None].expand(-1, -1, *patches.shape[2:])
        return torch.cat([patches, carried], dim=1)

    def _show_patches(self) -> None:
        """Let the patches that the last block reads pass, as a map, through a module that Grad-CAM can look at."""
        blocks = getattr(self.backbone, "blocks", None)
        if self._layout == "NLC" and self._n_carried and isinstance(blocks, nn.Sequential | nn.ModuleList):
            self.last_patches, self.heat_layer = nn.Identity(), _HEAT
            blocks[-1].register_forward_pre_hook(self._through_patches)

    def _through_patches(self, block: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        tokens = inputs[0]
        patches = _as_map(tokens[:, self._n_prefix :], 1.0)
        if patches is None:  # images that are no squares
            return None
        shown = self.last_patches(patches).flatten(2).transpose(1, 2)
        return (torch.cat([tokens[:, : self._n_prefix], shown], dim=1), *inputs[1:])

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


def _native_pool(name: str, backbone: Any) -> str:
    """Return how a network's makers pool, where that is one of ours."""
    if not getattr(backbone, "num_prefix_tokens", 0) or hasattr(backbone, "dist_token"):
        return _OWN
    if "dinov3" in name:  # of which timm averages the patches unless told otherwise
        return "cls"
    return {"token": "cls", "avg": "mean"}.get(backbone.global_pool, _OWN)


def _as_map(tokens: Tensor, ratio: float) -> Tensor | None:
    """Return tokens (N, n, c) of an image that is `ratio` times as high as wide as a map; None: they fill no grid."""
    n_tokens = tokens.shape[1]
    n_rows = round((n_tokens * ratio) ** 0.5)
    if not n_rows or n_tokens % n_rows:
        return None
    # By shape, not len: a number would fix the size of a batch where a graph is traced.
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, n_rows, n_tokens // n_rows)


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
