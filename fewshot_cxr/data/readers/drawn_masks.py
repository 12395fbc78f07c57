"""Masks that a data set gives in another form than as one file for each film, written as such files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fewshot_cxr.data.images import read_gray
from fewshot_cxr.whole_files import whole_file

FOLDER = "fscxr-masks"


def mask_of_runs(texts: Sequence[str], size_px: int) -> np.ndarray:
    """Return the union of masks that SIIM-ACR gives as runs, uint8 (size_px, size_px), 255 where marked.

    Args:
        texts: each a row's pairs "gap length gap length ...", down the columns from the top left; a gap is counted from
            the end of the run before it.
        size_px: of the film.

    Raises:
        ValueError: no such pairs, or a run that leaves the film.
    """
    mask = np.zeros(size_px * size_px, np.uint8)
    for text in texts:
        numbers = np.array(text.split(), dtype=np.int64)
        if numbers.size % 2 or (numbers < 0).any():
            raise ValueError("its runs are no pairs of gap and length")
        ends = numbers.cumsum()
        if ends.size and ends[-1] > mask.size:
            raise ValueError(f"its runs leave the film of {size_px} x {size_px} px")
        for start, end in ends.reshape(-1, 2):
            mask[start:end] = 255
    return mask.reshape(size_px, size_px).T


def union_of(paths: Sequence[Path]) -> np.ndarray:
    """Return where any of some masks marks, uint8, 255 there.

    Raises:
        ValueError: one cannot be read, or their sizes differ.
    """
    try:
        masks = [read_gray(path) > 0 for path in paths]
    except OSError as error:
        raise ValueError(str(error)) from error
    if len({mask.shape for mask in masks}) > 1:
        raise ValueError(f"the masks {', '.join(path.name for path in paths)} differ in size")
    return np.where(np.logical_or.reduce(masks), np.uint8(255), np.uint8(0))


def lost_note(lost: Sequence[str]) -> tuple[str, ...]:
    """Return a note on films whose masks cannot be made out, and which are taken without; () where there are none."""
    return (f"{len(lost)} films have masks that cannot be read, the first: {lost[0]}",) if lost else ()


def write_mask(root: Path, name: str, mask: np.ndarray) -> str:
    """Write a mask as a whole PNG file in the folder of such masks, and return its path below the root."""
    path = root / FOLDER / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as part:
        Image.fromarray(mask).save(part, format="PNG")
    return f"{FOLDER}/{path.name}"
