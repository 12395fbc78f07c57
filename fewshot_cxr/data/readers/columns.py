"""Which column of a table says what: compared by name without case, blanks, dashes, dots and underscores."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fewshot_cxr._checks import nearest
from fewshot_cxr._visible import visible
from fewshot_cxr.data.split_names import plain
from fewshot_cxr.records import TABLE_COLUMNS

# As `plain` writes them; the first that is there is taken. A study is no patient, but tells more than a film does.
COLUMNS = {
    "path": (
        *("path", "file", "filename", "image", "filepath", "imagepath", "imgpath", "imagefile", "imagename"),
        *("imageindex", "imagefilename", "img", "imageid", "dicomid", "dicompath"),
    ),
    "label": (
        *("label", "finding", "class", "labels", "findings", "findinglabel", "findinglabels", "classname", "diagnosis"),
        *("imagelabel", "category"),
    ),
    "group": ("groupid",),
    "patient": (
        *("patientid", "patientuid", "idpatient", "patientidentifier", "patientnumber", "patientno", "patientkey"),
        *("patientcode", "patienthash", "anonymizedpatientid", "anonymisedpatientid", "deidentifiedpatientid"),
        *("patient", "ptid", "pid", "mrn", "medicalrecordnumber", "subjectid", "subjectnumber", "subjectno"),
        *("subjectkey", "subject", "personid", "person", "caseid", "casenumber", "case"),
        *("studyinstanceuid", "studyid", "studyuid", "study", "accessionnumber"),
    ),
    "source": ("source",),
    "view": ("view",),
    "split": ("split",),
    "mask_path": ("maskpath",),
    "age_years": ("ageyears", "age"),
    "sex": ("sex",),
    "unstated": ("unstated",),
}
STUDIES = ("studyinstanceuid", "studyid", "studyuid", "study", "accessionnumber")
_NEEDED = ("path", "label")
_LIKE_PATIENT = ("patient", "subject", "person", "case", "study")
_NOT_ITS_NUMBER = ("age", "sex", "gender", "name", "birth", "weight", "size", "position", "orientation", "date", "time")


def take_columns(
    table: str | Path,
    names: Sequence[str],
    given: Mapping[str, str | None],
    *,
    hint: Callable[[], str] = str,
    needed: Sequence[str] = _NEEDED,
) -> dict[str, int]:
    """Return the place of each column that is there, by what it says (the keys of COLUMNS).

    Args:
        table: for errors.
        names: the header.
        given: what -> the name that somebody asked for; None: it is looked for.
        hint: says more where no column names the file.
        needed: what a column must say.

    Raises:
        ValueError: no such column, or none that names the file or the finding.
    """
    exact = {name: index for index, name in reversed(list(enumerate(names)))}
    at = {plain(name): index for index, name in reversed(list(enumerate(names)))}
    taken: dict[str, int] = {}
    for what, asked in given.items():
        if asked is None:
            continue
        found = exact.get(asked.strip(), at.get(plain(asked)))
        if found is None:
            raise ValueError(
                f"--{what}-column {asked}: {table} has no such column{nearest(asked, names)}; "
                f"it has {visible(', '.join(names))}"
            )
        taken[what] = found
    for what, candidates in COLUMNS.items():
        if what in taken:
            continue
        free = [at[name] for name in candidates if name in at and at[name] not in taken.values()]
        if free:
            taken[what] = free[0]
        elif what in needed:
            raise ValueError(
                f"{table} has no {what} column (looked for {', '.join(candidates[:4])} and the like); it has "
                f"{visible(', '.join(names))}: name one with --{what}-column{hint() if what == 'path' else ''}"
            )
    return {what: taken[what] for what in COLUMNS if what in taken}


def column_notes(names: Sequence[str], taken: Mapping[str, int]) -> tuple[str, ...]:
    """Say which columns were taken, unless all are those of a manifest of ours, and whether the patient is a guess."""
    told = []
    if {names[place] for place in taken.values()} - {"unstated"} != set(TABLE_COLUMNS):
        told.append("columns taken: " + ", ".join(f"{what} from {names[place]}" for what, place in taken.items()))
    if "patient" in taken and plain(names[taken["patient"]]) in STUDIES:
        told.append(
            f"no column names the patient: {names[taken['patient']]} is taken instead, so a patient of two studies "
            "counts as two (--patient-column)"
        )
    return tuple(told)


def patient_hint(names: Sequence[str], taken: Mapping[str, int]) -> str:
    """Return the flags that would tell the patient, with a column that looks like one where there is such a column."""
    if "patient" in taken:
        return "--patient-pattern"
    for name in names:
        key = plain(name)
        if any(word in key for word in _LIKE_PATIENT) and not any(word in key for word in _NOT_ITS_NUMBER):
            return f'--patient-column ("{name}" looks like one) or a --patient-pattern'
    return "--patient-column or a --patient-pattern"
