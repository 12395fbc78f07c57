"""Stored values of a DICOM film to gray: modality, VOI, inversion, once for each value rather than for each pixel."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from pydicom import Dataset

BIT_DEPTHS = (8, 10, 12, 14, 16)  # of detectors


def to_gray(stored: np.ndarray, header: Dataset) -> np.ndarray:
    """Show the stored values of a one-channel film as 8-bit gray; see `read_dicom` for the order and the range.

    Args:
        stored: integers, shape (H, W).
        header: of the film, with its LUTs, windows and padding.

    Returns:
        uint8, shape (H, W).

    Raises:
        OSError: the values do not fit 16 bits.
    """
    low, high = int(stored.min()), int(stored.max())
    if high - low >= 2**16:
        raise OSError(f"pixel values from {low} to {high} do not fit 16 bits")
    places = np.subtract(stored, low, dtype=np.intp)  # NumPy would turn each use of another type into it
    values = np.arange(low, high + 1)
    is_padding = _is_padding(values, header)
    occurs = np.zeros(len(values), bool)
    occurs[places] = True
    rescaled = _rescale(values, header)
    shown = _show(rescaled, rescaled[occurs & ~is_padding], header)
    gray = np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)
    # Both tags say the same thing, that the least value is white: the standard wants INVERSE where it is MONOCHROME1.
    if header.PhotometricInterpretation == "MONOCHROME1" or header.get("PresentationLUTShape") == "INVERSE":
        gray = 255 - gray
    gray[is_padding] = 0
    film: np.ndarray = gray[places]
    return film


def _is_padding(values: np.ndarray, header: Dataset) -> np.ndarray:
    """Source: DICOM PS3.3, C.7.5.1.1.2: in stored values; the limit, where there is one, belongs to the range."""
    first = header.get("PixelPaddingValue")
    if first is None:
        return np.zeros(len(values), bool)
    last = header.get("PixelPaddingRangeLimit")
    least, largest = sorted((int(first), int(first if last is None else last)))
    return np.logical_and(values >= least, values <= largest)


def _rescale(values: np.ndarray, header: Dataset) -> np.ndarray:
    sequence = header.get("ModalityLUTSequence")
    if sequence:
        return _look_up(values, sequence[0], header)
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    return values * float(1 if slope is None else slope) + float(intercept or 0)


def _show(rescaled: np.ndarray, present: np.ndarray, header: Dataset) -> np.ndarray:
    """Return the values on a scale where 0 is black and 1 is white (before any inversion)."""
    sequence = header.get("VOILUTSequence")
    if sequence:
        shown = _look_up(rescaled, sequence[0], header)
        return shown / max(float(shown.max()), 1)
    center, width = _first(header.get("WindowCenter")), _first(header.get("WindowWidth"))
    function = header.get("VOILUTFunction") or "LINEAR"
    if center is not None and width is not None and width >= _LEAST_WIDTH[function]:
        return _FUNCTIONS[function](rescaled, center, width)
    if not len(present):
        return np.zeros(len(rescaled))
    least, largest = float(present.min()), float(present.max())
    full = _full_scale(largest)
    is_8_bit = header.BitsStored == 8 and header.get("RescaleSlope") in (None, 1)
    is_spread = is_8_bit or largest - least >= full / 4
    if least >= 0 and is_spread and largest <= full:
        return rescaled / full
    return (rescaled - least) / ((largest - least) or 1)


def _full_scale(largest: float) -> int:
    return next((2**bits - 1 for bits in BIT_DEPTHS if largest < 2**bits), 2**16 - 1)


def _first(number: Any) -> float | None:
    """Return the first of several values, the value, or None."""
    if not isinstance(number, str) and hasattr(number, "__len__"):
        number = number[0] if len(number) else None
    value = math.nan if number is None else float(number)
    return value if math.isfinite(value) else None


def _look_up(values: np.ndarray, item: Dataset, header: Dataset) -> np.ndarray:
    """Source: DICOM PS3.3, C.11.1.1: values before the first one mapped take the first entry, those after, the last."""
    n_entries, first, _ = (int(number) for number in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        is_one_byte = len(data) <= n_entries + 1
        order = "<" if header.original_encoding[1] else ">"
        data = np.frombuffer(data, np.uint8 if is_one_byte else f"{order}u2")
    entries = np.asarray(data, float)[: n_entries or 2**16]
    found: np.ndarray = entries[np.clip(np.rint(values) - first, 0, len(entries) - 1).astype(int)]
    return found


def _linear(values: np.ndarray, center: float, width: float) -> np.ndarray:
    return (values - (center - 0.5)) / max(width - 1, 1e-6) + 0.5


def _linear_exact(values: np.ndarray, center: float, width: float) -> np.ndarray:
    return (values - center) / width + 0.5


def _sigmoid(values: np.ndarray, center: float, width: float) -> np.ndarray:
    return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))


# Source: DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3.
_FUNCTIONS: dict[str, Callable[[np.ndarray, float, float], np.ndarray]] = {
    "LINEAR": _linear,
    "LINEAR_EXACT": _linear_exact,
    "SIGMOID": _sigmoid,
}
_LEAST_WIDTH = {"LINEAR": 1.0, "LINEAR_EXACT": 1e-6, "SIGMOID": 1e-6}
