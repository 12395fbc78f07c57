"""CoronaHack: one table for Kermany's films of children and a few of Cohen's, of adults, with COVID-19."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fewshot_cxr._checks import lookup
from fewshot_cxr.data.readers.csv_table import read_rows
from fewshot_cxr.data.readers.gathering import Gathering, Row, first_file
from fewshot_cxr.records import Record, Records

_TABLE = "Chest_xray_Corona_Metadata.csv"
_INNER = "Coronahack-Chest-XRay-Dataset"
_COLUMNS = ("X_ray_image_name", "Label", "Dataset_type", "Label_2_Virus_category", "Label_1_Virus_category")
_SPELLING = {"Pnemonia": "Pneumonia"}
_SPLITS = ("train", "test")

# Each finds a row by its Label_2, else its Label_1, else its Label. The empty table keeps whatever stands there.
# The two others are readings of one report: its means say COVID, its figures Virus. A row without a Label_1, its
# "unknown", is always a Normal one.
CLASSES: Mapping[str, Mapping[str, str]] = {
    "most_specific": {},
    "covid_unknown_bacteria": {"COVID-19": "COVID-19", "Normal": "unknown", "bacteria": "bacteria"},
    "virus_unknown_bacteria": {"Virus": "Virus", "Normal": "unknown", "bacteria": "bacteria"},
}
# Parts of (split, series, number) that make a patient of Kermany's. The type is person's virus or bacteria, and which
# of the series IM and NORMAL2-IM it is.
PATIENT_KEYS = {
    "type_and_number": "person<N>_<virus or bacteria>, [NORMAL2-]IM-<N>",
    "number": "person<N>, IM-<N>",
    "split_and_number": "the same within the official TRAIN and TEST",
    "none": "each film is its own patient",
}
_KERMANY = re.compile(r"person(?P<person>\d+)_(?P<type>virus|bacteria)_|(?P<series>NORMAL2-)?IM-(?P<number>\d+)-")
# Cohen's serial films and the parts of one figure: "-day3", "-a", "-b2".
_SERIAL = re.compile(r"(-day\d+|-[a-d]\d?)+$")


def read_coronahack(
    root: str | Path,
    *,
    classes: str = "most_specific",
    patient_key: str = "type_and_number",
    official_split: bool = False,
) -> Records:
    """Read the CoronaHack chest X-rays.

    Args:
        root: holds `Chest_xray_Corona_Metadata.csv`; the films lie in `train/` and `test/` of it or of its (doubled)
            folder `Coronahack-Chest-XRay-Dataset/`.
        classes: "most_specific" keeps all findings apart (Normal, bacteria, Virus, COVID-19, Streptococcus, SARS,
            ARDS). "covid_unknown_bacteria" takes COVID-19, Normal as unknown, and bacteria with Streptococcus.
            "virus_unknown_bacteria" takes every virus, COVID-19 and SARS too, in place of COVID-19.
        patient_key: what of a file's name makes its patient: "type_and_number", "number", "split_and_number" or
            "none". Cohen's films are joined by their names without "-day3", "-a", "-b2", whatever the key but "none".
        official_split: keep the official TRAIN and TEST as `split`. TEST has no COVID-19, so that without it `split`
            is None and the films are to be divided anew; `attributes` keeps "official_split" in any case.

    Returns:
        Films in the order of the rows. `source` is "cohen" or "kermany", by the file's name; `attributes` has label
        (with "Pnemonia" mended), label_1 and label_2. Rows that the class rule drops are counted in `.notes`.

    Raises:
        FileNotFoundError: no table, or no film of it.
        ValueError: an unknown option, or a table without its columns.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Path(folder, "train").mkdir()
        ...     n_bytes = Path(folder, "train/person7_virus_12.jpeg").write_bytes(b"a film")
        ...     with open(f"{folder}/Chest_xray_Corona_Metadata.csv", "w") as out:
        ...         print("X_ray_image_name,Label,Dataset_type,Label_2_Virus_category,Label_1_Virus_category", file=out)
        ...         print("person7_virus_12.jpeg,Pnemonia,TRAIN,,Virus", file=out)
        ...     [(film.findings, film.patient_id, film.source) for film in read_coronahack(folder)]
        [(('Virus',), 'person7_virus', 'kermany')]
    """
    root = Path(root)
    table = first_file(root, [_TABLE])
    rows, notes = parse_metadata(table, classes=classes, patient_key=patient_key)
    above = _film_folder(root)
    gathering = Gathering(root)
    for row in rows:
        if not row.fault:
            split = row.film.attributes["official_split"] if official_split else None
            row = row._replace(film=replace(row.film, path=above + row.film.path, split=split))
        gathering.take(table, row)
    told = (
        f"classes are {classes}",
        f"patients are told from file names, by {patient_key}: {PATIENT_KEYS[patient_key]}",
        "finding and source go together: kermany has the children, cohen nearly all of the rarer findings",
    )
    return gathering.records((*notes, *told, _split_note(rows, official_split)))


def parse_metadata(
    path: str | Path, *, classes: str = "most_specific", patient_key: str = "type_and_number"
) -> tuple[list[Row], tuple[str, ...]]:
    """Read the table alone; no film is looked for.

    Args:
        path: of the table.
        classes: as in `read_coronahack`.
        patient_key: as in `read_coronahack`.

    Returns:
        Its rows without the empty ones, and notes. The path of a film begins with train/ or test/.

    Raises:
        FileNotFoundError: no such table.
        ValueError: an unknown option, or a table without its columns.
    """
    lookup(CLASSES, classes, what="classes of coronahack")
    lookup(PATIENT_KEYS, patient_key, what="patient_key of coronahack")
    rows, at, notes = read_rows(Path(path), _COLUMNS)
    places = [at[name.lower()] for name in _COLUMNS]
    found = []
    for number, row in enumerate(rows, start=2):
        if any(row):
            cells = [row[place].strip() if place < len(row) else "" for place in places]
            found.append(_row(number, cells, classes, patient_key))
    return found, notes


def _row(number: int, cells: list[str], classes: str, patient_key: str) -> Row:
    name, label, split, label_2, label_1 = cells
    rule, split, label = CLASSES[classes], split.lower(), _SPELLING.get(label, label)
    # The most specific first: COVID-19 is a Virus is a Pneumonia.
    named = [cell for cell in (label_2, label_1, label) if cell]
    findings = tuple((rule[cell] for cell in named if cell in rule) if rule else named)[:1]
    patient, source = _patient_and_source(name, split, patient_key)
    said = {"label": label, "label_1": label_1, "label_2": label_2, "official_split": split}
    fault = _fault(name, split, label)
    unasked = "" if fault or findings else f"{named[0]} is no class of {classes}"
    path = name if fault else f"{split}/{name}"
    return Row(number, Record(path, findings, patient_id=patient, source=source, attributes=said), fault, unasked)


def _fault(name: str, split: str, label: str) -> str:
    if not name:
        return "the row names no file"
    if split not in _SPLITS:
        return f"the row's Dataset_type is {split.upper()!r}, not TRAIN or TEST"
    return "" if label else "the row has no Label"


def _patient_and_source(name: str, split: str, key: str) -> tuple[str | None, str]:
    kermany = _KERMANY.match(name)
    source = "kermany" if kermany else "cohen"
    if key == "none":
        return None, source
    if kermany is None:
        return _SERIAL.sub("", name.rpartition(".")[0] or name), source
    person = kermany["person"]
    number = f"person{person}" if person else f"IM-{kermany['number']}"
    if key == "type_and_number":
        return f"{number}_{kermany['type']}" if person else f"{kermany['series'] or ''}{number}", source
    return f"{split}/{number}" if key == "split_and_number" else number, source


def _film_folder(root: Path) -> str:
    places = ("", f"{_INNER}/", f"{_INNER}/{_INNER}/")
    return next((place for place in places if any((root / place / split).is_dir() for split in _SPLITS)), places[-1])


def _split_note(rows: list[Row], official_split: bool) -> str:
    in_test = {name for row in rows if row.film.attributes["official_split"] == "test" for name in row.film.findings}
    absent = sorted({name for row in rows for name in row.film.findings} - in_test)
    lack = f"; TEST has no {', '.join(absent)}" if absent else ""
    if official_split:
        return f"the split is the official TRAIN and TEST{lack}"
    return f"no split is set: divide the films with fscxr data split (official_split keeps TRAIN and TEST{lack})"
