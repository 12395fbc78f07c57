"""Encoders for chest films that others trained: how each is built, what its images are, where its file is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fewshot_cxr.encoders.base import Encoder
from fewshot_cxr.encoders.hub import asking_the_hub
from fewshot_cxr.encoders.timm_encoder import Network, TimmEncoder
from fewshot_cxr.encoders.weight_files import read_state_dict
from fewshot_cxr.encoders.weights import file_sha256, take_weights
from fewshot_cxr.image_spec import ImageSpec

_CLIP = {"mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)}
# Films are resized to 256 px and cut to the middle 224.
_EVA_X_SPEC = ImageSpec(224, 3, mean=(0.49185,), std=(0.28509,), resize="bicubic", border_crop=1 / 16)
_SIGLIP = MappingProxyType({"act_layer": "gelu_tanh"})  # as it was trained; timm's own have the exact one


@dataclass(frozen=True)
class Published:
    """An encoder that was published.

    Args:
        architecture: under timm's name.
        image_spec: what its images were.
        repository: on the hub.
        file: there.
        arguments: of timm's function.
        n_projected: width of the projection behind the class token; 0: there is none.

    Examples:
        >>> own = PUBLISHED["rad_dino"]
        >>> own.repository, own.image_spec.size_px
        ('microsoft/rad-dino', 518)
    """

    architecture: str
    image_spec: ImageSpec
    repository: str
    file: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    n_projected: int = 0


def _eva_x(size: str) -> Published:
    return Published(
        f"eva02_{size}_patch14_224",
        _EVA_X_SPEC,
        "MapleF/eva_x",
        f"eva_x_{size}_patch16_merged520k_mim.pt",
        MappingProxyType({"patch_size": 16, "ref_feat_shape": (14, 14)}),
    )


PUBLISHED: dict[str, Published] = {
    "rad_dino": Published(
        "vit_base_patch14_dinov2",
        ImageSpec(518, 3, mean=(0.5307,), std=(0.2583,), resize="bicubic"),
        "microsoft/rad-dino",
        "model.safetensors",
    ),
    "biomedclip": Published(
        "vit_base_patch16_224",
        ImageSpec(224, 3, mean=_CLIP["mean"], std=_CLIP["std"], resize="bicubic"),
        "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        "open_clip_pytorch_model.bin",
        n_projected=512,
    ),
    "eva_x_tiny": _eva_x("tiny"),
    "eva_x_small": _eva_x("small"),
    "eva_x_base": _eva_x("base"),
    "siglip": Published(
        "vit_base_patch16_siglip_224",
        ImageSpec(224, 3, "none", (0.5,), (0.5,), resize="bicubic"),
        "google/siglip-base-patch16-224",
        "model.safetensors",
        _SIGLIP,
    ),
    "medsiglip": Published(
        "vit_so400m_patch14_siglip_378",
        ImageSpec(448, 3, "none", (0.5,), (0.5,)),
        "google/medsiglip-448",
        "model.safetensors",
        MappingProxyType({**_SIGLIP, "img_size": 448}),
    ),
}


def published_encoder(
    known: str,
    image_spec: ImageSpec | None = None,
    *,
    pretrained: bool = False,
    pool: str = "native",
    embedding_dim: int | None = None,
    output: str = "head",
    dropout: float = 0.0,
) -> Encoder:
    """Build an encoder that was published for medical images.

    Args:
        known: a name in PUBLISHED.
        image_spec: how films become images; None takes what the weights were trained on.
        pretrained: download its file from the hub and read its plain weights; of those whose makers ask for an
            agreement, after that was given there. With a file (`load_weights`) nothing is asked of the hub.
        pool: what is read; "native" is the projection where there is one. See `TimmEncoder`.
        embedding_dim: width of the head; see `Encoder`.
        output: "head" or "pooled"; see `Encoder`.
        dropout: share of the pooled features; see `Encoder`.

    Raises:
        OSError: the file cannot be downloaded, or holds more than plain weights.
        ValueError: there is no class token to pool, or no such image size.

    Examples:
        >>> encoder = published_encoder("eva_x_tiny", output="pooled")  # with random weights: nothing is downloaded
        >>> encoder.embedding_dim, encoder.image_spec == PUBLISHED["eva_x_tiny"].image_spec
        (192, True)
    """
    own = PUBLISHED[known]
    encoder = TimmEncoder(
        Network(own.architecture, own.arguments, own.n_projected),
        own.image_spec if image_spec is None else image_spec,
        pool=pool,
        embedding_dim=embedding_dim,
        output=output,
        dropout=dropout,
    )
    spec = own.image_spec
    encoder.backbone.pretrained_cfg = encoder.backbone.pretrained_cfg | {"mean": spec.mean, "std": spec.std}
    if pretrained:
        file = _downloaded(known, own)
        take_weights(encoder, read_state_dict(file), known)
        encoder.origin = {"file": own.file, "sha256": file_sha256(file)}
    return encoder


def _downloaded(known: str, own: Published) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        with asking_the_hub():
            return Path(hf_hub_download(own.repository, own.file))
    except Exception as error:  # the hub's client and its transport each have their own
        reason = str(error).strip().partition("\n")[0]
        raise OSError(
            f"{own.file} of {own.repository} cannot be downloaded ({type(error).__name__}: {reason:.120}); "
            f"fetch it elsewhere and name it: {known} --weights FILE"
        ) from error
