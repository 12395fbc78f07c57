"""RSNA Pneumonia Detection Challenge, stage 2: boxes, classes, DICOM films; and the map to ChestX-ray14's names.

Source: Shih et al., "Augmenting the National Institutes of Health Chest Radiograph Dataset with Expert Annotations of
Possible Pneumonia", 2019, doi:10.1148/ryai.2019180041.
"""

import json
from pathlib import Path
from typing import Any

from fewshot_cxr.data.readers.boxes import BoundingBox, Boxes, checked_box, read_boxes
from fewshot_cxr.data.readers.gathering import Gathering, Row
from fewshot_cxr.data.readers.published_table import Cells, FirstThere, find_tables, published_rows, table_below
from fewshot_cxr.records import Record, Records

BOXES, CLASSES = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
MAP = "pneumonia-challenge-dataset-mappings_2018.json"
_OPACITY = "Lung Opacity"
_CLASS_OF = {"1": _OPACITY, "0": "No Lung Opacity"}  # without the table of classes the target is all there is
_COLUMNS = ("patientId", "x", "y", "width", "height", "Target")
_FILMS = tuple(f"{folder}{{film}}.{end}" for end in ("dcm", "png") for folder in ("stage_2_train_images/", ""))
_NO_MAP = f"patients are unknown: each film counts as its own patient; {MAP}, which names them, is not there"


def read_rsna_pneumonia(root: str | Path) -> Records:
    """Read the labelled films of the challenge: stage_2_train_images.

    Args:
        root: holds the tables and the films; the map to ChestX-ray14, too, which RSNA gives beside Kaggle's files.

    Returns:
        One film for each patientId (which is a film's), in the order of the table; the findings Lung Opacity, No Lung
        Opacity / Not Normal and Normal. Where the map is there, the patient is that of ChestX-ray14, and the attribute
        `chestxray14` is the film's name there: a list of both sets shows which they share.

    Raises:
        FileNotFoundError: no table, or no film at all.
        ValueError: a table without its columns, a map that is none, or a path that leaves the root.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     n_bytes = Path(folder, "film-7.png").write_bytes(b"a film")
        ...     with open(f"{folder}/stage_2_train_labels.csv", "w") as table:
        ...         print("patientId,x,y,width,height,Target", file=table)
        ...         print("film-7,200,300,150,100,1", file=table)
        ...     [(film.path, film.findings) for film in read_rsna_pneumonia(folder)]
        [('film-7.png', ('Lung Opacity',))]
    """
    root = Path(root)
    table = table_below(root, (BOXES,))
    classes = find_tables(root, (CLASSES,))
    class_of = (
        {cells[0]: cells[1] for _, cells, _ in published_rows(classes[0], ("patientId", "class"))} if classes else {}
    )
    names = _names_of_nih(root)
    gathering, seen = Gathering(table.parent), set[str]()
    there = FirstThere(gathering.state_of, *_FILMS)
    for number, (film, *_, target), fault in published_rows(table, _COLUMNS):
        if film in seen:
            continue  # a row for each box: the film is one
        seen.add(film)
        finding = class_of.get(film) or _CLASS_OF.get(target, "")
        nih = names.get(film)
        record = Record(
            there.path(table, number, film=film) if film else "",
            (finding,) if finding else (),
            patient_id=nih and str(int(nih[:8])),
            source="NIH",
            attributes={"chestxray14": nih} if nih else {},
        )
        fault = fault or ("" if film else "the row names no film")
        gathering.take(table, Row(number, record, fault, "" if finding else "no class is stated"))
    notes = ["these are films of ChestX-ray14, which does not test it, nor it them"]
    return gathering.records((*notes, *(() if names else (_NO_MAP,))))


def _names_of_nih(root: Path) -> dict[str, str]:
    """Return the name in ChestX-ray14 of each film of the map."""
    found = find_tables(root, (MAP,))
    if not found:
        return {}
    try:
        rows: Any = json.loads(found[0].read_text("utf-8"))
        return {row["subset_img_id"]: _checked_name(row["img_id"]) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{found[0]} is not the map to ChestX-ray14 ({error!r}); fetch it again, or remove it"
        ) from error


def _checked_name(name: str) -> str:
    int(name[:8])  # the patient
    return name


def read_rsna_boxes(root: str | Path) -> Boxes:
    """Read the boxes around opacities, by patientId, in pixels of the 1024 px film.

    Raises:
        FileNotFoundError: no table of boxes below `root`.
        ValueError: a row is no box.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with open(f"{folder}/stage_2_train_labels.csv", "w") as table:
        ...         print("patientId,x,y,width,height,Target", file=table)
        ...         print("film-7,200,300,150,100,1", file=table)
        ...     read_rsna_boxes(folder)["film-7"]
        (BoundingBox(finding='Lung Opacity', x=200.0, y=300.0, width=150.0, height=100.0),)
    """
    table = table_below(Path(root), (BOXES,))

    def box_of(number: int, cells: Cells) -> BoundingBox | None:
        numbers = cells[1:5]
        return checked_box(table, number, _OPACITY, numbers, is_corners=False) if any(numbers) else None

    return read_boxes(table, _COLUMNS, box_of)
