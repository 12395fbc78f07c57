"""BRAX 1.1.0: one spreadsheet, films as PNG or DICOM, the fourteen findings of CheXpert.

Source: Reis et al., "BRAX, Brazilian labeled chest x-ray dataset", 2022, doi:10.1038/s41597-022-01608-8.
"""

from functools import partial
from pathlib import Path

from fewshot_cxr._checks import lookup
from fewshot_cxr.data.readers.chexpert_labels import FINDINGS, UNCERTAIN, UNCERTAIN_NOTE, sex_of, stated
from fewshot_cxr.data.readers.csv_table import number_of
from fewshot_cxr.data.readers.gathering import Gathering, Row
from fewshot_cxr.data.readers.published_table import Cells, FirstThere, table_below, take_rows
from fewshot_cxr.data.readers.views import Views
from fewshot_cxr.records import Record, Records

TABLES = ("master_spreadsheet_update.csv", "master_spreadsheet.csv")
_FRONTAL, _OTHERS = ("PA", "AP"), ("L", "LATERAL", "RL")


def read_brax(root: str | Path, *, uncertain: str = "unstated", views: tuple[str, ...] = ("frontal",)) -> Records:
    """Read BRAX, with its PNG or its DICOM films.

    Args:
        root: holds the spreadsheet and the folders images/ or Anonymized_DICOMs/.
        uncertain: what -1 is: "unstated" (or "ignore", U-Ignore), "positive" (U-Ones) or "negative" (U-Zeros).
        views: that are taken; "frontal" stands for PA and AP.

    Returns:
        Films in the order of the rows, the PNG where there are both.

    Raises:
        FileNotFoundError: no spreadsheet, or no film at all.
        ValueError: an unknown option, a table without its columns, or a path that leaves the root.

    Examples:
        >>> from fewshot_cxr.data.readers.chexpert_labels import FINDINGS
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     n_bytes = Path(folder, "1.png").write_bytes(b"a film")
        ...     with open(f"{folder}/master_spreadsheet.csv", "w") as table:
        ...         print("PngPath,DicomPath,PatientID,ViewPosition", *FINDINGS, sep=",", file=table)
        ...         print("1.png,,id_7,PA", *[""] * 12, "1", "-1", sep=",", file=table)  # of fourteen, the last two
        ...     [(film.patient_id, film.findings, film.unstated) for film in read_brax(folder)]
        [('id_7', ('Fracture',), ('Support Devices',))]
    """
    is_present, wanted = lookup(UNCERTAIN, uncertain, what="uncertain"), Views(views, _FRONTAL, _OTHERS)
    table = table_below(Path(root), TABLES)
    gathering = Gathering(table.parent)
    there = FirstThere(gathering.state_of, "{png}", "{dicom}", "{dicom}.dcm")
    row_of = partial(_row, table=table, there=there, is_present=is_present, wanted=wanted)
    columns = ("PngPath", "DicomPath", "PatientID", "ViewPosition", *FINDINGS)
    take_rows(gathering, table, columns, row_of, ("PatientSex", "PatientAge"))
    return gathering.records((f"the table is {table.name}", UNCERTAIN_NOTE[is_present], wanted.note))


def _row(number: int, cells: Cells, *, table: Path, there: FirstThere, is_present: bool | None, wanted: Views) -> Row:
    png, dicom, patient, view, *labels, sex, age = cells
    labelled = stated(tuple(labels), is_present)
    years = number_of(age.removesuffix(" or more"))
    record = Record(
        there.path(table, number, png=png, dicom=dicom) if png or dicom else "",
        labelled.findings,
        patient_id=patient or None,
        source="Einstein",
        view=view or None,
        age_years=years if years and years > 0 else None,
        sex=sex_of(sex),
        unstated=labelled.unstated,
    )
    fault = labelled.fault or ("" if png or dicom else "the row names no film")
    return Row(number, record, fault, wanted.unasked(view) or labelled.unasked)
