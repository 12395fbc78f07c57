"""What every method hands out: float32 maps in the frame of the image that the encoder saw."""

import numpy as np
from torch import Tensor
from torch.nn import functional


def as_heat(maps: Tensor, images: Tensor) -> np.ndarray:
    """Stretch maps, float (N, h, w), over their images, (N, C, S, S), bilinearly: float32, shape (N, S, S).

    Raises:
        ValueError: a value is not finite.
    """
    if not bool(maps.isfinite().all()):
        raise ValueError("the heat is not finite; look for NaN in the images, the weights or the target")
    size = images.shape[2:]
    stretched = functional.interpolate(maps.detach().float().unsqueeze(1), size=size, mode="bilinear")
    heat: np.ndarray = stretched.squeeze(1).cpu().numpy()
    return heat
