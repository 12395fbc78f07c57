"""One map from the names in published files to those that timm has for the same layers, family by family."""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

PROJECTION = "projection"  # behind the pooling, of a tower that was trained together with text
_Tensors = Mapping[str, Tensor]
_VIT_OF_TRANSFORMERS = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.mask_token", "mask_token"),
    (r"embeddings\.register_tokens", "register_tokens"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"attention\.(?:attention\.)?(query|key|value|q_proj|k_proj|v_proj)\.", r"attn.\1."),
    (r"attention\.(?:output\.dense|o_proj)\.", "attn.proj."),
    (r"layer_scale(\d)\.lambda1", r"ls\1.gamma"),
    (r"layernorm_before\.", "norm1."),
    (r"layernorm_after\.", "norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"mlp\.weights_in\.", "mlp.w12."),
    (r"mlp\.weights_out\.", "mlp.w3."),
    (r"^layernorm\.", "norm."),
)
_SIGLIP_OF_TRANSFORMERS = (
    (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^embeddings\.position_embedding\.weight", "pos_embed"),
    (r"^encoder\.layers\.(\d+)\.", r"blocks.\1."),
    (r"\.layer_norm(\d)\.", r".norm\1."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.self_attn\.", ".attn."),
    (r"^post_layernorm\.", "norm."),
    (r"^head\.probe", "attn_pool.latent"),
    (r"^head\.attention\.out_proj\.", "attn_pool.proj."),
    (r"^head\.layernorm\.", "attn_pool.norm."),
    (r"^head\.mlp\.", "attn_pool.mlp."),
)
_ATTENDING = re.compile(r"(.*\.attn\.)(query|key|value|q_proj|k_proj|v_proj)(\.(?:weight|bias))")


def named_by_timm(tensors: _Tensors) -> dict[str, Tensor]:
    """Return tensors under timm's names, where they go by those of a family that is known; else as they are.

    RAD-DINO, DINOv2 and plain vision transformers as transformers saves them, SigLIP's image tower likewise, and an
    image tower of timm in a file of open_clip, with the projection behind it. DINOv2's own names, EVA's and DINOv3's
    are known to timm itself.

    Args:
        tensors: of a published file.

    Examples:
        >>> names = ["vit.embeddings.patch_embeddings.projection.weight", "vit.layernorm.weight"]
        >>> list(named_by_timm({name: torch.zeros(1) for name in names}))
        ['patch_embed.proj.weight', 'norm.weight']
    """
    for marker, convert in _FAMILIES.items():
        found = next((match for name in tensors if (match := re.search(marker, name))), None)
        if found is not None:
            start = found.string[: found.start()]
            return convert({name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)})
    return dict(tensors)


def _vit(tensors: _Tensors) -> dict[str, Tensor]:
    named = _joined(_renamed(tensors, _VIT_OF_TRANSFORMERS))
    if "register_tokens" in named:  # timm knows DINOv2's own names by this one
        named.setdefault("mask_token", torch.zeros(1))
    return named


def _siglip(tensors: _Tensors) -> dict[str, Tensor]:
    named = _joined(_renamed(tensors, _SIGLIP_OF_TRANSFORMERS))
    named["pos_embed"] = named["pos_embed"].unsqueeze(0)
    for part in ("weight", "bias"):
        packed = named.pop(f"head.attention.in_proj_{part}", None)
        if packed is not None:
            query, *others = packed.chunk(3)
            named |= {f"attn_pool.q.{part}": query, f"attn_pool.kv.{part}": torch.cat(others)}
    return named


def _open_clip(tensors: _Tensors) -> dict[str, Tensor]:
    trunk = {name.removeprefix("trunk."): t for name, t in tensors.items() if name.startswith("trunk.")}
    return trunk | {name.replace("head.proj", PROJECTION): t for name, t in tensors.items() if "head.proj." in name}


# What a name of the family holds; what stands before it stands before all of them, and others are left out.
_FAMILIES: dict[str, Callable[[_Tensors], dict[str, Tensor]]] = {
    r"visual\.(?=trunk\.)": lambda tensors: _open_clip(
        {name.removeprefix("visual."): tensor for name, tensor in tensors.items()}
    ),
    r"embeddings\.patch_embeddings\.projection\.weight$": _vit,
    r"embeddings\.patch_embedding\.weight$": _siglip,
}


def _renamed(tensors: _Tensors, rules: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def _joined(tensors: _Tensors) -> dict[str, Tensor]:
    """Join query, key and value, which timm has as one layer."""
    parts: dict[str, dict[str, Tensor]] = {}
    others = {}
    for name, tensor in tensors.items():
        found = _ATTENDING.fullmatch(name)
        if found is None:
            others[name] = tensor
        else:
            parts.setdefault(f"{found[1]}qkv{found[3]}", {})[found[2][0]] = tensor
    return others | {name: torch.cat([three[letter] for letter in "qkv"]) for name, three in parts.items()}
