"""CheXpert v1.0 and its -small copy: train.csv, valid.csv, test.csv, fourteen findings that may be uncertain.

Source: Irvin et al., 2019, arXiv:1901.07031.
"""

import os
from functools import partial
from pathlib import Path

from fewshot_cxr._checks import lookup
from fewshot_cxr.data.readers.chexpert_labels import FINDINGS, UNCERTAIN, UNCERTAIN_NOTE, sex_of, stated
from fewshot_cxr.data.readers.csv_table import number_of
from fewshot_cxr.data.readers.gathering import Gathering, Row, wrong_root
from fewshot_cxr.data.readers.published_table import Cells, find_tables, take_rows
from fewshot_cxr.data.readers.views import Views
from fewshot_cxr.records import Record, Records

TABLES = {"train": ("train.csv",), "val": ("valid.csv",), "test": ("test.csv", "test_labels.csv")}
_ABOUT = ("Sex", "Age", "Frontal/Lateral", "AP/PA")  # the labels of the test part come without these
_FRONTAL, _LATERAL = ("AP", "PA", "frontal"), ("LL", "RL", "lateral")
_PATIENT = "patient"
_DEEPEST = 2  # CheXpert-v1.0 batch 1 (validate & csv)/valid


def read_chexpert(root: str | Path, *, uncertain: str = "unstated", views: tuple[str, ...] = ("frontal",)) -> Records:
    """Read CheXpert as it is downloaded, whole or in part, v1.0 or -small.

    Args:
        root: holds the tables, itself or in one of its folders. Films lie in train/, valid/ and test/, or in the four
            folders "CheXpert-v1.0 batch ...".
        uncertain: what -1 is: "unstated" (or "ignore", U-Ignore), "positive" (U-Ones) or "negative" (U-Zeros).
        views: that are taken; "frontal" stands for AP, PA and frontal films that do not say which.

    Returns:
        Films in the order of the tables. `split` is train, val (valid.csv) or test; patients are those of the paths.

    Raises:
        FileNotFoundError: no table, or no film at all.
        ValueError: an unknown option, a table without its columns, or a path that leaves the root.

    Examples:
        >>> from fewshot_cxr.data.readers.chexpert_labels import FINDINGS
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Path(folder, "valid/patient7").mkdir(parents=True)
        ...     n_bytes = Path(folder, "valid/patient7/view1_frontal.jpg").write_bytes(b"a film")
        ...     with open(f"{folder}/valid.csv", "w") as table:
        ...         print("Path", *FINDINGS, sep=",", file=table)
        ...         print("CheXpert-v1.0/valid/patient7/view1_frontal.jpg", *[""] * 12, "1", "-1", sep=",", file=table)
        ...     [(film.split, film.findings, film.unstated) for film in read_chexpert(folder)]
        [('val', ('Fracture',), ('Support Devices',))]
    """
    is_present = lookup(UNCERTAIN, uncertain, what="uncertain")
    wanted, root = Views(views, _FRONTAL, _LATERAL), Path(root)
    tables = {split: found[0] for split, names in TABLES.items() if (found := find_tables(root, names))}
    if not tables:
        raise wrong_root(root, "train.csv, valid.csv or test.csv")
    gathering, homes = Gathering(root), _homes(root)
    for split, table in tables.items():
        row_of = partial(_row, split=split, homes=homes, is_present=is_present, wanted=wanted)
        take_rows(gathering, table, ("Path", *FINDINGS), row_of, _ABOUT)
    read = f"read: {', '.join(table.relative_to(root).as_posix() for table in tables.values())}"
    return gathering.records((read, UNCERTAIN_NOTE[is_present], wanted.note))


def _homes(root: Path) -> dict[str, str]:
    """Return the folder, below the root, in which the folder of each patient lies."""
    homes: dict[str, str] = {}
    folders = [""]
    for _ in range(1 + _DEEPEST):
        inside: list[str] = []
        for folder in folders:
            with os.scandir(root / folder) as entries:
                names = sorted(item.name for item in entries if not item.name.startswith(".") and item.is_dir())
            patients = [name for name in names if name.startswith(_PATIENT)]
            homes = dict.fromkeys(patients, f"{folder}/" if folder else "") | homes
            inside += [f"{folder}/{name}" if folder else name for name in names if not name.startswith(_PATIENT)]
        folders = inside
    return homes


def _row(
    number: int, cells: Cells, *, split: str, homes: dict[str, str], is_present: bool | None, wanted: Views
) -> Row:
    path, labels, (sex, age, side, projection) = cells[0], cells[1 : 1 + len(FINDINGS)], cells[1 + len(FINDINGS) :]
    parts = path.replace("\\", "/").split("/")
    place = next((at for at, part in enumerate(parts) if part.startswith(_PATIENT) and part[len(_PATIENT) :]), None)
    labelled = stated(labels, is_present)
    if place is None:
        return Row(number, Record(path, ()), "its path names no patient")
    patient, film = parts[place], "/".join(parts[place:])
    # The path begins with the folder of the release; where the films lie is known by the patient.
    home = homes.get(patient, "/".join([*parts[1:place], ""]))
    side = side.lower() or ("lateral" if "lateral" in parts[-1] else "frontal")
    view = projection or side
    years = number_of(age)
    record = Record(
        home + film,
        labelled.findings,
        patient_id=patient,
        source="Stanford",
        view=view,
        split=split,
        age_years=years if years and years > 0 else None,
        sex=sex_of(sex),
        unstated=labelled.unstated,
    )
    return Row(number, record, labelled.fault, wanted.unasked(view) or labelled.unasked)
