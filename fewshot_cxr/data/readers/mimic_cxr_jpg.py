"""MIMIC-CXR-JPG: gzipped tables of splits, films and labels; films by patient, study and DICOM id.

Source: Johnson et al., "MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs", 2019,
arXiv:1901.07042.
"""

from functools import partial
from pathlib import Path

from fewshot_cxr._checks import lookup
from fewshot_cxr.data.readers.chexpert_labels import FINDINGS, UNCERTAIN, UNCERTAIN_NOTE, Stated, stated
from fewshot_cxr.data.readers.gathering import Gathering, Row, wrong_root
from fewshot_cxr.data.readers.published_table import Cells, published_rows, take_rows
from fewshot_cxr.data.readers.views import Views
from fewshot_cxr.records import Record, Records

LABELS = {"chexpert": "by the CheXpert labeller", "negbio": "by NegBio"}
_FRONTAL = ("PA", "AP")
_OTHERS = (
    *("LATERAL", "LL", "AP AXIAL", "AP LLD", "AP RLD", "PA LLD", "PA RLD", "LAO", "RAO", "LPO", "XTABLE LATERAL"),
    "SWIMMERS",
)
_SPLITS = {"validate": "val"}
_NO_LABELS = Stated((), (), "")
_NO_FILM = Record("", ())
_NO_ATTRIBUTES: dict[str, str] = {}  # one for all: of 377,110 an empty one each would be 24 MB


def read_mimic_cxr_jpg(
    root: str | Path,
    *,
    labels: str = "chexpert",
    uncertain: str = "unstated",
    views: tuple[str, ...] = ("frontal",),
) -> Records:
    """Read MIMIC-CXR-JPG, whole or in part.

    Args:
        root: holds mimic-cxr-2.x.0-split.csv.gz, -metadata.csv.gz and -chexpert.csv.gz (packed or not), and files/.
        labels: "chexpert" or "negbio", which program read the reports.
        uncertain: what -1 is: "unstated" (or "ignore", U-Ignore), "positive" (U-Ones) or "negative" (U-Zeros).
        views: that are taken; "frontal" stands for PA and AP.

    Returns:
        Films in the order of the table of films. `split` is the official one (validate is val), the patient the
        subject; the study stands in the path. Films of studies without labels are passed over and counted.

    Raises:
        FileNotFoundError: a table is not there, or no film at all.
        ValueError: an unknown option, a table without its columns, or a damaged one.
    """
    is_present, root = lookup(UNCERTAIN, uncertain, what="uncertain"), Path(root)
    lookup(LABELS, labels, what="labels of mimic_cxr_jpg")
    wanted = Views(views, _FRONTAL, _OTHERS)
    films, split, studies = (_table(root, name) for name in ("metadata", "split", labels))
    split_of = _splits(split)
    said = {
        cells[0]: stated(cells[1:], is_present)
        for _, cells, fault in published_rows(studies, ("study_id", *FINDINGS))
        if not fault
    }
    gathering = Gathering(root)
    row_of = partial(_row, split_of=split_of, said=said, wanted=wanted)
    take_rows(gathering, films, ("dicom_id", "subject_id", "study_id"), row_of, ("ViewPosition",))
    named = f"findings are those of {studies.name}, {LABELS[labels]}"
    return gathering.records((named, UNCERTAIN_NOTE[is_present], wanted.note))


def _table(root: Path, name: str) -> Path:
    found = sorted(path for end in ("csv", "csv.gz") for path in root.glob(f"mimic-cxr-*-{name}.{end}"))
    if not found:
        raise wrong_root(root, f"mimic-cxr-2.0.0-{name}.csv.gz")
    return found[-1]  # of the newest release


def _splits(table: Path) -> dict[str, str]:
    """Return the split of each patient, and of each film whose split is another one than its patient's."""
    split_of: dict[str, str] = {}
    for _, (film, patient, split), fault in published_rows(table, ("dicom_id", "subject_id", "split")):
        if not fault and split_of.setdefault(patient, split) != split:
            split_of[film] = split
    return split_of


def _row(number: int, cells: Cells, *, split_of: dict[str, str], said: dict[str, Stated], wanted: Views) -> Row:
    film, patient, study, view = cells
    if unasked := wanted.unasked(view):
        return Row(number, _NO_FILM, "", unasked)
    labelled = said.get(study, _NO_LABELS)
    split = split_of.get(film) or split_of.get(patient)
    record = Record(
        f"files/p{patient[:2]}/p{patient}/s{study}/{film}.jpg",
        labelled.findings,
        patient_id=patient,
        source="Beth Israel Deaconess",
        view=view or None,
        split=_SPLITS.get(split, split) if split else None,
        attributes=_NO_ATTRIBUTES,
        unstated=labelled.unstated,
    )
    fault = labelled.fault or ("" if film and patient and study else "the row names no film")
    no_labels = "" if study in said else "their study has no labels"
    return Row(number, record, fault, no_labels or labelled.unasked)
