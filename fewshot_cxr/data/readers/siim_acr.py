"""SIIM-ACR Pneumothorax: DICOM films in folders of their own, masks as runs in one table.

Source: the challenge's page, kaggle.com/c/siim-acr-pneumothorax-segmentation; the films are of ChestX-ray14.
"""

import os
from collections import defaultdict
from pathlib import Path

from fewshot_cxr.data.readers.drawn_masks import FOLDER, lost_note, mask_of_runs, write_mask
from fewshot_cxr.data.readers.gathering import Gathering, Row
from fewshot_cxr.data.readers.published_table import published_rows, table_below
from fewshot_cxr.records import Record, Records

TABLES = ("train-rle.csv", "stage_2_train.csv")
FINDINGS = ("No Pneumothorax", "Pneumothorax")
SIZE_PX = 1024
_NONE = "-1"
_ENDS = (".dcm", ".png")
_NOTES = (
    "patients are unknown: each film counts as its own patient",
    "these are films of ChestX-ray14, which does not test it, nor it them",
)


def read_siim_acr(root: str | Path, *, write_masks: bool = False) -> Records:
    """Read the labelled films of the challenge.

    Args:
        root: holds the table; films lie at any depth below it, by their ImageId.
        write_masks: write the mask of each film with a pneumothorax as a PNG file, into the folder fscxr-masks.

    Returns:
        One film for each ImageId, in the order of the table: Pneumothorax or No Pneumothorax. `mask_path` is set where
        masks are written.

    Raises:
        FileNotFoundError: no table, or no film at all.
        ValueError: a table without its columns.
        OSError: a mask cannot be written.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     n_bytes = Path(folder, "1.2.276.png").write_bytes(b"a film")
        ...     with open(f"{folder}/train-rle.csv", "w") as table:
        ...         print("ImageId,EncodedPixels", file=table)
        ...         print("1.2.276,-1", file=table)
        ...     [(film.path, film.findings) for film in read_siim_acr(folder)]
        [('1.2.276.png', ('No Pneumothorax',))]
    """
    table = table_below(Path(root), TABLES)
    films = _films(table.parent)
    runs: defaultdict[str, list[str]] = defaultdict(list)
    first: dict[str, int] = {}
    gathering, n_masks, lost = Gathering(table.parent), 0, list[str]()
    for number, (film, text), fault in published_rows(table, ("ImageId", "EncodedPixels")):
        if fault or not text:  # a blank cell does not say that there is no pneumothorax
            gathering.leave_out(number, film, fault or f"it has neither runs nor {_NONE}")
            continue
        first.setdefault(film, number)
        runs[film] += [] if text == _NONE else [text]
    for film, number in first.items():
        mask = None
        if write_masks and runs[film] and film in films:
            try:
                mask = write_mask(table.parent, film, mask_of_runs(runs[film], SIZE_PX))
                n_masks += 1
            except ValueError:
                lost.append(film)
        record = Record(films.get(film, f"{film}.dcm"), (FINDINGS[bool(runs[film])],), source="NIH", mask_path=mask)
        gathering.take(table, Row(number, record, "" if film else "the row names no film"))
    told = f"{n_masks} masks are written to {FOLDER}" if write_masks else "masks are not written (--write-masks)"
    return gathering.records((f"the table is {table.name}", told, *lost_note(lost), *_NOTES))


def _films(root: Path) -> dict[str, str]:
    """Return where each film lies, by its name without the ending."""
    found: dict[str, str] = {}
    for folder, inside, names in os.walk(root):
        inside[:] = sorted(name for name in inside if not name.startswith(".") and name != FOLDER)
        below = Path(folder).relative_to(root).as_posix()
        for stem, end in map(os.path.splitext, sorted(names)):
            if end.lower() in _ENDS:
                found.setdefault(stem, stem + end if below == "." else f"{below}/{stem}{end}")
    return found
