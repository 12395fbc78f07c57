"""VinDr-CXR: DICOM films by image id, each of train labelled by three radiologists, of test by all five together.

Source: Nguyen et al., "VinDr-CXR: An open dataset of chest X-rays with radiologist's annotations", 2022,
arXiv:2012.15029.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fewshot_cxr._checks import lookup
from fewshot_cxr.data.readers.boxes import BoundingBox, Boxes, checked_box, read_boxes
from fewshot_cxr.data.readers.chestxray14 import NO_FINDING
from fewshot_cxr.data.readers.gathering import Gathering, Row, wrong_root
from fewshot_cxr.data.readers.published_table import Cells, FirstThere, find_tables, header_of, published_rows
from fewshot_cxr.records import Record, Records

# How many of the readers of a film must name a finding: given how many read it.
AGREEMENTS: dict[str, Callable[[int], int]] = {
    "majority": lambda n_readers: n_readers // 2 + 1,
    "any": lambda n_readers: 1,
    "all": lambda n_readers: n_readers,
}
# PhysioNet has a row for each reader and a column for each finding; Kaggle a row for each box, or for "No finding".
_TABLES = {split: (f"annotations/image_labels_{split}.csv", f"image_labels_{split}.csv") for split in ("train", "test")}
_KAGGLE = "train.csv"
_FILMS = tuple(f"{{split}}/{{film}}{end}" for end in (".dicom", ".dcm", ".png", ".jpg"))
_SPELLING = {"No finding": NO_FINDING, "Other disease": "Other diseases"}
_ABOUT, _PRESENT = {"image_id", "rad_id"}, ("1", "1.0")


class _Reading(NamedTuple):
    number: int
    film: str
    reader: str
    findings: tuple[str, ...]


def read_vindr_cxr(root: str | Path, *, readers: str = "majority") -> Records:
    """Read VinDr-CXR as PhysioNet gives it, or its Kaggle form.

    Args:
        root: holds annotations/ and the folders train/ and test/; or train.csv of Kaggle.
        readers: of the three of a film of train, how many must name a finding: "majority", "any" or "all".

    Returns:
        Films in the order in which the tables first name them, one row being one film here; `split` is train or test.
        The attribute `agreement` says how many of its readers named each finding ("Cardiomegaly 3/3|Nodule/Mass 1/3").
        Films without a finding that enough of them named are passed over. No patients are published.

    Raises:
        FileNotFoundError: no table, or no film at all.
        ValueError: an unknown option, a table without its columns, or a path that leaves the root.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Path(folder, "train").mkdir()
        ...     n_bytes = Path(folder, "train/1f3a.png").write_bytes(b"a film")
        ...     with open(f"{folder}/image_labels_train.csv", "w") as table:
        ...         for row in ("image_id,rad_id,Cardiomegaly", "1f3a,R8,1", "1f3a,R9,1", "1f3a,R10,0"):
        ...             print(row, file=table)
        ...     [(film.findings, film.attributes["agreement"]) for film in read_vindr_cxr(folder)]
        [(('Cardiomegaly',), 'Cardiomegaly 2/3')]
    """
    needed, root = lookup(AGREEMENTS, readers, what="readers of vindr_cxr"), Path(root)
    tables = {split: found[0] for split, names in _TABLES.items() if (found := find_tables(root, names))}
    if not tables and (kaggle := find_tables(root, (_KAGGLE,))):
        tables = {"train": kaggle[0]}
    if not tables:
        raise wrong_root(root, f"{_TABLES['train'][0]}, or {_KAGGLE} of Kaggle")
    gathering = Gathering(root)
    there = FirstThere(gathering.state_of, *_FILMS)
    for split, table in tables.items():
        for film, readings in _by_film(table, gathering).items():
            path = there.path(table, readings[0].number, split=split, film=film)
            gathering.take(table, _row(path, split, readings, needed))
    how = f"taken: findings that {readers} of a film's readers name; those of test were agreed on"
    return gathering.records((f"read: {', '.join(table.name for table in tables.values())}", how))


def _by_film(table: Path, gathering: Gathering) -> dict[str, list[_Reading]]:
    """Return the readings of each film; a row of another width is left out, as it would be a vote for nothing."""
    names = header_of(table)
    is_long = "class_name" in names
    findings = [name for name in names if name.lower() not in _ABOUT]
    columns, more = (("rad_id", "class_name"), ()) if is_long else ((), ("rad_id", *findings))
    found: defaultdict[str, list[_Reading]] = defaultdict(list)
    for number, (film, *cells), fault in published_rows(table, ("image_id", *columns), more):
        if fault:
            gathering.leave_out(number, film, fault)
            continue
        reader, *marks = cells
        named = marks if is_long else [name for name, mark in zip(findings, marks, strict=True) if mark in _PRESENT]
        found[film].append(_Reading(number, film, reader, tuple(_SPELLING.get(name, name) for name in named)))
    return found


def _row(path: str, split: str, readings: list[_Reading], needed: Callable[[int], int]) -> Row:
    n_readers = len({reading.reader for reading in readings})
    pairs = {(reading.reader, name) for reading in readings for name in reading.findings}
    votes = Counter(name for _, name in pairs)
    findings = tuple(sorted(name for name, count in votes.items() if count >= needed(n_readers)))
    # Some name a finding, others none: what is left of "No Finding" beside one says nothing.
    findings = tuple(name for name in findings if name != NO_FINDING) or findings
    agreement = "|".join(f"{name} {votes[name]}/{n_readers}" for name in sorted(votes))
    film = Record(path, findings, source="VinDr", split=split, attributes={"agreement": agreement})
    unasked = "" if findings else "too few of their readers agree on a finding (--readers)"
    return Row(readings[0].number, film, "" if readings[0].film else "the row names no film", unasked)


def read_vindr_boxes(root: str | Path) -> Boxes:
    """Read the boxes of every reader, by image id; a reader's box is one, so that a finding may have three.

    Raises:
        FileNotFoundError: no table of boxes below `root`.
        ValueError: a row is no box.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with open(f"{folder}/train.csv", "w") as table:  # of Kaggle
        ...         print("image_id,class_name,x_min,y_min,x_max,y_max", file=table)
        ...         print("1f3a,Cardiomegaly,200,300,350,400", file=table)
        ...     read_vindr_boxes(folder)["1f3a"]
        (BoundingBox(finding='Cardiomegaly', x=200.0, y=300.0, width=150.0, height=100.0),)
    """
    parts = (("annotations/annotations_train.csv", _KAGGLE), ("annotations/annotations_test.csv",))
    tables = [found[0] for names in parts if (found := find_tables(Path(root), names))]
    if not tables:
        raise wrong_root(Path(root), parts[0][0])
    boxes: Boxes = {}
    for table in tables:

        def box_of(number: int, cells: Cells, table: Path = table) -> BoundingBox | None:
            _, name, *corners = cells
            has_none = name == "No finding" or not any(corners)
            return None if has_none else checked_box(table, number, name, corners, is_corners=True)

        boxes |= read_boxes(table, ("image_id", "class_name", "x_min", "y_min", "x_max", "y_max"), box_of)
    return boxes
