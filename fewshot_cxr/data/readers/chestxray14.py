"""NIH ChestX-ray14: one table, several findings to a film, films in folders whose names begin with images or sample.

Source: Wang et al., "ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks", 2017, arXiv:1705.02315.
"""

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from operator import itemgetter
from pathlib import Path

from fewshot_cxr._checks import lookup
from fewshot_cxr.data.images import is_image_name
from fewshot_cxr.data.readers.boxes import BoundingBox, Boxes, checked_box
from fewshot_cxr.data.readers.csv_table import read_rows, read_text
from fewshot_cxr.data.readers.gathering import Gathering, Row, first_file
from fewshot_cxr.records import Record, Records

NO_FINDING = "No Finding"
FINDINGS = frozenset(
    {"Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia"}
    | {"Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax"}
)
# The newest first: 2020 corrected ages. The sample's table may lie beside its folder of films, or in it.
TABLES = {
    "v2020": ("Data_Entry_2017_v2020.csv",),
    "2017": ("Data_Entry_2017.csv",),
    "sample": ("sample_labels.csv", "sample/sample_labels.csv"),
}
LISTS = {"train": "train_val_list.txt", "test": "test_list.txt"}
CLASSES = {"multi_label": "every row", "single_label": "rows with exactly one of the 14 findings"}
OLDEST_YEARS = 120
_FOLDERS = ("images", "sample")
_DEEPEST = 3  # sample/sample/images
_BOXES = "BBox_List_2017.csv"
# All stand before "OriginalImage[Width,Height]", whose comma splits the name: what follows it cannot be told by name.
_FILM = ("Image Index", "Finding Labels", "Follow-up #")
_PATIENT = ("Patient ID", "Patient Age", "Patient Gender", "View Position")
_AGE = re.compile(r"(\d+(?:\.\d*)?)([YMWD]?)")  # "58", and as in DICOM "058Y", "011M", "003W", "013D"
_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}


def read_chestxray14(root: str | Path, *, table: str = "newest", classes: str = "multi_label") -> Records:
    """Read ChestX-ray14, its Kaggle copy or its Kaggle sample, whole or in part.

    Args:
        root: holds the table; films lie in it, or in folders whose names begin with "images" or "sample", at most
            three deep.
        table: "v2020", "2017" or "sample"; "newest" takes the first of these that is there.
        classes: "multi_label" keeps every row, one without a finding as "No Finding"; "single_label" keeps rows with
            exactly one of the 14 findings, which with the COVID-19 films of another set make 15 classes.

    Returns:
        Films in the order of the rows. Where both official lists are there, `split` is "train" (train_val_list.txt) or
        "test"; validation is left to be carved by patient. An age of 120 years or more is None; `attributes` keeps the
        age as it is written, and the follow-up number. A row without a film is "missing" by its bare file name.

    Raises:
        FileNotFoundError: no table, or no film at all.
        ValueError: an unknown option, a table without its columns, or a film in both official lists.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
        >>> with TemporaryDirectory() as folder:
        ...     n_bytes = Path(folder, "00000007_000.png").write_bytes(b"a film")
        ...     with open(f"{folder}/Data_Entry_2017.csv", "w") as table:
        ...         print(head, file=table)
        ...         print("00000007_000.png,Mass|Effusion,0,7,58,M,PA", file=table)
        ...     [(film.findings, film.patient_id, film.age_years) for film in read_chestxray14(folder)]
        [(('Mass', 'Effusion'), '7', 58.0)]
    """
    lookup(CLASSES, classes, what="classes of chestxray14")
    root = Path(root)
    tables = {"newest": tuple(name for names in TABLES.values() for name in names), **TABLES}
    path = first_file(root, lookup(tables, table, what="table of chestxray14"))
    rows, at, notes = read_rows(path, (*_FILM, *_PATIENT))
    paths, place_notes = _paths_by_name(root)
    splits, split_notes = _official_splits(root)
    gathering = Gathering(root)
    places = [at[name.lower()] for name in (*_FILM, *_PATIENT)]
    pick, n_columns = itemgetter(*places), max(places) + 1
    for number, row in enumerate(rows, start=2):
        if len(row) >= n_columns:
            gathering.take(path, _row(number, pick(row), paths, splits, classes == "single_label"))
        elif any(row):
            gathering.leave_out(number, row[0], f"the row has {len(row)} cells, at least {n_columns} were expected")
    records = gathering.records((f"the table is {path.name}", *notes, *place_notes, *split_notes))
    listed = {row[places[0]].strip() for row in rows if len(row) >= n_columns}
    return replace(records, notes=(*records.notes, *_notes(records, listed, paths)))


def _paths_by_name(root: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return where each file lies, by its bare name, which is all that the table says of a film."""
    paths: dict[str, str] = {}
    n_twice = 0
    for folder, inside, names in os.walk(root, onerror=_refuse, followlinks=True):
        below = Path(folder).relative_to(root)
        is_deepest = len(below.parts) == _DEEPEST
        inside[:] = [] if is_deepest else sorted(name for name in inside if name.lower().startswith(_FOLDERS))
        prefix = "" if below == Path() else f"{below.as_posix()}/"
        n_twice += sum(map(is_image_name, paths.keys() & names))
        paths = {name: prefix + name for name in names} | paths
    twice = f"{n_twice} films lie in more than one folder: the first in the order of the folders' names was taken"
    return paths, (twice,) if n_twice else ()


def _refuse(error: OSError) -> None:
    raise error


def _official_splits(root: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    found = {split: root / name for split, name in LISTS.items() if (root / name).is_file()}
    if len(found) < len(LISTS):
        return {}, (f"no official split: {' and '.join(LISTS.values())} are not both there",)
    train, test = (dict.fromkeys(read_text(path)[0].split(), split) for split, path in found.items())
    both = train.keys() & test.keys()
    if both:
        raise ValueError(f"{root}: {len(both)} films are in both official lists, such as {min(both)}; fetch them again")
    splits = train | test
    return splits, (f"the official split is kept, {LISTS['train']} as train: carve validation from it by patient",)


def _row(number: int, cells: tuple[str, ...], paths: dict[str, str], splits: dict[str, str], is_single: bool) -> Row:
    name, label, follow_up, patient, age, sex, view = map(str.strip, cells)
    findings, fault, unasked = _findings(label), "", ""
    if not name:
        fault = "the row names no film"
    elif not findings:
        fault = f"{label!r} is none of the 14 findings, nor {NO_FINDING}"
    elif is_single and len(findings) > 1:
        unasked = "they have several findings"
    elif is_single and findings[0] == NO_FINDING:
        unasked = f"they have {NO_FINDING}"
    film = Record(
        name if fault else paths.get(name, name),
        findings,
        patient_id=patient or None,
        source="NIH",
        view=view or None,
        split=splits.get(name),
        age_years=_age_years(age),
        sex=sex or None,
        attributes={"Follow-up #": follow_up, "Patient Age": age},
    )
    return Row(number, film, fault, unasked)


@lru_cache(maxsize=4096)
def _findings(label: str) -> tuple[str, ...]:
    """Return the findings of a cell; none where one is unknown, or where "No Finding" stands beside a finding."""
    findings = tuple(dict.fromkeys(name.strip() for name in label.split("|")))
    return findings if findings == (NO_FINDING,) or FINDINGS.issuperset(findings) else ()


@lru_cache(maxsize=4096)
def _age_years(text: str) -> float | None:
    found = _AGE.fullmatch(text.upper())
    years = float(found[1]) / _PER_YEAR[found[2]] if found else math.inf
    return years if years < OLDEST_YEARS else None  # the 2017 table has patients of 411 years


def _notes(records: Records, listed: set[str], paths: dict[str, str]) -> Iterator[str]:
    n_missing = sum(problem.kind == "missing" for problem in records.problems)
    if n_missing:
        yield f"{n_missing} of {records.n_rows} rows have no film here, which is usual after a partial download"
    n_ages = sum(film.age_years is None and bool(film.attributes["Patient Age"]) for film in records.films)
    if n_ages:
        yield f"{n_ages} ages are no number below {OLDEST_YEARS} years: unknown, as written in 'Patient Age'"
    n_unlisted = sum(map(is_image_name, paths.keys() - listed))
    if n_unlisted:
        yield f"{n_unlisted} films have no row in the table and were passed over"
    train, test = ({film.patient_id for film in records.films if film.split == split} for split in LISTS)
    n_on_both = len((train & test) - {None})
    if n_on_both:
        yield f"{n_on_both} patients are in both official splits"


def read_bounding_boxes(root: str | Path) -> Boxes:
    """Read BBox_List_2017.csv, the marked findings of about a thousand films.

    Args:
        root: the folder that `read_chestxray14` takes.

    Returns:
        Boxes by the bare name of the film's file, in the order of the rows; "Infiltrate" there is "Infiltration".

    Raises:
        FileNotFoundError: no such file below `root`.
        ValueError: a row is no box, or its finding is none of the 14.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with open(f"{folder}/BBox_List_2017.csv", "w") as table:
        ...         print("Image Index,Finding Label,Bbox [x,y,w,h]", file=table)
        ...         print("00000007_000.png,Infiltrate,200,300,150,100", file=table)
        ...     read_bounding_boxes(folder)["00000007_000.png"]
        (BoundingBox(finding='Infiltration', x=200.0, y=300.0, width=150.0, height=100.0),)
    """
    path = first_file(Path(root), [_BOXES])
    rows, _, _ = read_rows(path, ("Image Index", "Finding Label"))
    boxes: defaultdict[str, list[BoundingBox]] = defaultdict(list)
    for number, row in enumerate(rows, start=2):
        if any(row):
            # Only the first two columns have a name of their own: "Bbox [x,y,w,h],,," makes seven of four numbers.
            name, label, *numbers = (cell.strip() for cell in [*row, "", ""][:6])
            finding = {"Infiltrate": "Infiltration"}.get(label, label)
            known = finding if finding in FINDINGS else ""
            boxes[name].append(checked_box(path, number, known, numbers, is_corners=False))
    return {name: tuple(found) for name, found in boxes.items()}
