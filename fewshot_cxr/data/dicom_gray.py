"""Stored values of a DICOM film to gray: modality, VOI, inversion, once for each value rather than for each pixel."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from pydicom import Dataset

from fewshot_cxr.data.dicom_elements import Elements
from fewshot_cxr.data.film import DecodingFacts

BIT_DEPTHS = (8, 10, 12, 14, 16)  # of detectors


@dataclass(frozen=True, eq=False)
class _Lut:
    """A look-up table: its first value mapped, its entries, and which entry is white."""

    first: int
    entries: np.ndarray
    white: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Look values up; those before the first one mapped take the first entry, those after the last, the last."""
        places = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        found: np.ndarray = self.entries[places.astype(int)]
        return found


def to_gray(stored: np.ndarray, header: Dataset, *, bit_depth: int | None = None) -> tuple[np.ndarray, DecodingFacts]:
    """Show the stored values of a one-channel film as 8-bit gray; see `decode_dicom` for the order and the range.

    Args:
        stored: integers, shape (H, W).
        header: of the film, with its LUTs, windows and padding.
        bit_depth: of a deep film without window or LUT; None finds it by the maximum.

    Returns:
        uint8, shape (H, W); what of the header is odd and counts as absent, and whether the depth was guessed.

    Raises:
        OSError: the values do not fit 16 bits, or `bit_depth`.
    """
    low, high = int(stored.min()), int(stored.max())
    if high - low >= 2**16:
        raise OSError(f"pixel values from {low} to {high} do not fit 16 bits")
    places = np.subtract(stored, low, dtype=np.intp)  # NumPy would turn each use of another type into it
    values = np.arange(low, high + 1)
    elements = Elements(header)
    is_padding = _is_padding(values, header, elements)
    occurs = np.zeros(len(values), bool)
    occurs[places] = True
    shown, bits = _show(values, occurs & ~is_padding, header, elements, bit_depth)
    gray = np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)
    # Both tags say the same thing, that the least value is white: the standard wants INVERSE where it is MONOCHROME1.
    if header.PhotometricInterpretation == "MONOCHROME1" or header.get("PresentationLUTShape") == "INVERSE":
        gray = 255 - gray
    gray[is_padding] = 0
    return gray[places], DecodingFacts(elements.notes, bits)


def _is_padding(values: np.ndarray, header: Dataset, elements: Elements) -> np.ndarray:
    """Source: DICOM PS3.3, C.7.5.1.1.2: in stored values; the limit, where there is one, belongs to the range."""
    first = elements.number("PixelPaddingValue")
    if first is None:
        return np.zeros(len(values), bool)
    last = elements.number("PixelPaddingRangeLimit")
    ends = [first, first if last is None else last]
    if header.get("PixelRepresentation") == 1:  # -2000 may be written as what it is without a sign, 63536
        n_values = 2 ** int(header.BitsAllocated)
        ends = [end - n_values if end >= n_values / 2 else end for end in ends]
    least, largest = sorted(ends)
    return np.logical_and(values >= least, values <= largest)


def _show(
    values: np.ndarray, is_present: np.ndarray, header: Dataset, elements: Elements, bit_depth: int | None
) -> tuple[np.ndarray, int | None]:
    """Return the values on a scale where 0 is black and 1 is white (before any inversion), and the bits guessed."""
    modality = _lut("ModalityLUTSequence", header, elements)
    rescaled = _rescale(values, elements) if modality is None else modality(values)
    voi = _lut("VOILUTSequence", header, elements)
    if voi is not None:
        # Its first value has the sign of what it maps, however it is written.
        is_below = voi.first >= 2**15 and rescaled.min() < 0
        return (replace(voi, first=voi.first - 2**16) if is_below else voi)(rescaled) / voi.white, None
    window = _window(header, elements)
    if window is not None:
        return window(rescaled), None
    if modality is not None:
        return rescaled / modality.white, None
    return _plain(rescaled, rescaled[is_present], header, elements, bit_depth)


def _rescale(values: np.ndarray, elements: Elements) -> np.ndarray:
    slope, intercept = elements.number("RescaleSlope"), elements.number("RescaleIntercept")
    if slope == 0:
        elements.is_absent("RescaleSlope", "is 0")
    return values * (slope or 1.0) + (intercept or 0.0)


def _window(header: Dataset, elements: Elements) -> Callable[[np.ndarray], np.ndarray] | None:
    center, width = elements.number("WindowCenter"), elements.number("WindowWidth")
    if center is None or width is None:
        return None
    function = str(header.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function not in _FUNCTIONS:
        elements.is_absent("VOILUTFunction", "is none of the standard's")
        function = "LINEAR"
    if width < _LEAST_WIDTH[function]:
        elements.is_absent("WindowWidth", "is too small for a window")
        return None
    return lambda rescaled: _FUNCTIONS[function](rescaled, center, width)


def _plain(
    rescaled: np.ndarray, present: np.ndarray, header: Dataset, elements: Elements, bit_depth: int | None
) -> tuple[np.ndarray, int | None]:
    """Show a film that says nothing of how it is to be shown."""
    if not len(present):
        return np.zeros(len(rescaled)), None
    least, largest = float(present.min()), float(present.max())
    is_8_bit = header.BitsStored == 8 and elements.number("RescaleSlope") in (None, 0, 1)
    if bit_depth is not None and not is_8_bit and least >= 0:
        if largest >= 2**bit_depth:
            raise OSError(f"its maximum {largest:g} needs more than {bit_depth} bits; name a larger --bit-depth")
        return rescaled / (2**bit_depth - 1), None
    bits = next((bits for bits in BIT_DEPTHS if largest < 2**bits), 16)
    full = 2**bits - 1
    if least >= 0 and (is_8_bit or largest - least >= full / 4) and largest <= full:
        return rescaled / full, None if is_8_bit else bits
    return (rescaled - least) / ((largest - least) or 1), None if is_8_bit else bits


def _lut(name: str, header: Dataset, elements: Elements) -> _Lut | None:
    """Return the first table of a sequence; None where there is none, or one that cannot be, which is noted.

    The range belongs to the table: from 0 to 2^n - 1, n being stated. Some machines state 16 bits and fill fewer: there
    the table's own largest entry is white, whether it occurs in the film or not.

    Source: DICOM PS3.3, C.11.1.1.1 and C.11.2.1.1.
    """
    try:
        sequence = header.get(name)
        if not sequence:
            return None
        n_entries, first, bits = (int(number) for number in sequence[0].LUTDescriptor)
        data = sequence[0].LUTData
        if isinstance(data, bytes):
            is_one_byte = len(data) <= n_entries + 1
            order = "<" if header.original_encoding[1] else ">"
            data = np.frombuffer(data, np.uint8 if is_one_byte else f"{order}u2")
        entries = np.asarray(data, float)[: n_entries or 2**16]
        largest, stated = float(entries.max()), 2.0**bits - 1
    except Exception:  # pydicom raises anything on an odd value
        elements.is_absent(name, "holds no table")
        return None
    return _Lut(first, entries, stated if stated / 2 < largest <= stated else max(largest, 1.0))


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
