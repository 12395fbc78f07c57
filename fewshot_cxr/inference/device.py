"""Which processor, and in which precision."""

import torch


def choose_device(name: str = "auto") -> torch.device:
    """Return the device to work on: "auto" takes a GPU when there is one.

    Raises:
        ValueError: the device asked for is absent, or the name is none of "auto", "cpu", "cuda", "cuda:N".

    Examples:
        >>> choose_device("cpu")
        device(type='cpu')
        >>> choose_device("auto").type in ("cpu", "cuda")
        True
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise ValueError(f"device {name!r} is not one of auto, cpu, cuda, cuda:N (--device)")
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and int(number or 0) >= n_gpus:
        have = f"torch sees {n_gpus} CUDA GPU{'' if n_gpus == 1 else 's'} here"
        raise ValueError(f"device {name!r} is absent: {have}; take --device cpu or auto")
    return torch.device(name)


def native_precision(device: torch.device) -> str:
    """Return "bf16-mixed" where the processor or GPU multiplies bfloat16 itself, else "32-true".

    Examples:
        >>> native_precision(torch.device("cpu")) in ("32-true", "bf16-mixed")  # by the processor
        True
    """
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.get_device_capability(device) >= (8, 0) else "32-true"
    # torch has no public question for this yet; without an answer float32 is always right.
    asked = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return "bf16-mixed" if any(question is not None and question() for question in asked) else "32-true"
