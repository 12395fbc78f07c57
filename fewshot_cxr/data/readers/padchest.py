"""PadChest: one table of 36 columns, several findings to a film as the text of a list, 16-bit PNG films.

Source: Bustos et al., "PadChest: A large chest x-ray image dataset with multi-label annotated reports", 2020,
arXiv:1901.07441.
"""

from functools import partial
from pathlib import Path

from fewshot_cxr.data.no_value import says_nothing
from fewshot_cxr.data.readers.cells import names_in
from fewshot_cxr.data.readers.chestxray14 import NO_FINDING
from fewshot_cxr.data.readers.chexpert_labels import sex_of
from fewshot_cxr.data.readers.csv_table import number_of
from fewshot_cxr.data.readers.gathering import Gathering, Row
from fewshot_cxr.data.readers.published_table import Cells, FirstThere, table_below, take_rows
from fewshot_cxr.data.readers.views import Views
from fewshot_cxr.records import Record, Records

TABLES = ("PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",)
# Cut short or broken in the release, as users of it found (torchxrayvision leaves the same ones out).
KNOWN_DAMAGED = frozenset(
    f"216840111366964{end}.png"
    for end in (
        *("012283393834152009033102258826_00-059-087", "012339356563862009072111404053_00-043-192"),
        *("012373310883942009117084022290_00-064-025", "012373310883942009152114636712_00-102-045"),
        *("012373310883942009170084120009_00-097-074", "012487858717522009280135853083_00-075-001"),
        *("012558082906712009327122220177_00-102-064", "012819207061112010281134410801_00-129-131"),
        *("012819207061112010306085429121_04-020-102", "012819207061112010307142602253_04-014-084"),
        *("012819207061112010315104455352_04-024-184", "012959786098432011033083840143_00-176-115"),
        *("012989926673512011074122523403_00-163-058", "012989926673512011083134050913_00-168-009"),
        *("012989926673512011151082430686_00-157-045", "013076187734852011291090445391_00-196-188"),
        *("013590140476722013043111952381_02-065-198", "013590140476722013058110301622_02-056-111"),
        *("013686042548532013208193054515_02-026-007", "013829543166512013353113303615_02-092-190"),
        "013962490064942014134093945580_01-178-104",
    )
)
_FRONTAL, _OTHERS = ("PA", "AP", "AP_horizontal"), ("L", "COSTAL", "EXCLUDE")
_COLUMNS = ("ImageID", "ImageDir", "PatientID", "Projection", "Labels")
_ABOUT = ("StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM", "Pediatric", "MethodLabel")
_NORMAL, _EXCLUDE, _NOT_A_FINDING = "normal", "exclude", "unchanged"
_FOLDERS = ("{folder}/{film}", "{film}", "images/{folder}/{film}", "images/{film}", "images-224/{film}")
_MOST_NAMED = 3


def read_padchest(root: str | Path, *, views: tuple[str, ...] = ("frontal",)) -> Records:
    """Read PadChest, whole or in part, in the folders 0 to 54 or flat.

    Args:
        root: holds the table, packed or not; films lie in <ImageDir>/, in it, or in images/ or images-224/.
        views: that are taken, as the column Projection says; "frontal" stands for PA, AP and AP_horizontal.

    Returns:
        Films in the order of the rows; "normal" is "No Finding", "unchanged" is none, and films labelled "exclude" are
        passed over. The age is the year of the study less that of birth. `attributes` say who labelled the film
        (Physician, RNN_model) and whether it is a child's.

    Raises:
        FileNotFoundError: no table, or no film at all.
        ValueError: an unknown view, a table without its columns, or a path that leaves the root.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     n_bytes = Path(folder, "216840.png").write_bytes(b"a film")
        ...     with open(f"{folder}/PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", "w") as table:
        ...         print("ImageID,ImageDir,PatientID,Projection,Labels", file=table)
        ...         print("216840.png,0,p7,PA,['normal']", file=table)
        ...     [(film.findings, film.patient_id, film.view) for film in read_padchest(folder)]
        [(('No Finding',), 'p7', 'PA')]
    """
    wanted, table = Views(views, _FRONTAL, _OTHERS), table_below(Path(root), TABLES)
    gathering = Gathering(table.parent)
    there, damaged = FirstThere(gathering.state_of, *_FOLDERS), set[str]()
    row_of = partial(_row, table=table, there=there, wanted=wanted, damaged=damaged)
    take_rows(gathering, table, _COLUMNS, row_of, _ABOUT)
    notes = [f"the table is {table.name}", wanted.note, "the free text of the reports is left out"]
    if damaged:
        names = ", ".join(sorted(damaged)[:_MOST_NAMED])
        notes.append(f"{len(damaged)} films that were damaged in the release are among these, such as {names}")
    return gathering.records(notes)


def _row(number: int, cells: Cells, *, table: Path, there: FirstThere, wanted: Views, damaged: set[str]) -> Row:
    film, folder, patient, projection, labels, studied, born, sex, pediatric, method = cells
    names = tuple(dict.fromkeys(NO_FINDING if name == _NORMAL else name for name in names_in(labels.lower())))
    findings = tuple(name for name in names if name != _NOT_A_FINDING and not says_nothing(name))
    unasked = wanted.unasked(projection) or ("they are labelled exclude" if _EXCLUDE in findings else "")
    if not unasked and film in KNOWN_DAMAGED:
        damaged.add(film)
    study_year, birth_year = number_of(studied[:4]), number_of(born)
    years = None if study_year is None or birth_year is None else study_year - birth_year
    below = folder.removesuffix(".0") or "."
    record = Record(
        there.path(table, number, folder=below, film=film) if film and not unasked else film,
        findings,
        patient_id=patient or None,
        source="San Juan",
        view=projection or None,
        age_years=years if years is not None and years >= 0 else None,
        sex=sex_of(sex),
        attributes={"MethodLabel": method, "Pediatric": pediatric},
    )
    unasked = unasked or ("" if findings else "no finding is stated")
    return Row(number, record, "" if film else "the row names no film", unasked)
