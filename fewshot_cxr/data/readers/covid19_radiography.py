"""COVID-19 Radiography Database (Kaggle): a folder for each of four classes, a sheet of sources beside each.

Source: Rahman et al., "Exploring the effect of image enhancement techniques on COVID-19 detection using chest X-ray
images", 2021, doi:10.1016/j.compbiomed.2021.104319.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from fewshot_cxr._checks import lookup
from fewshot_cxr._visible import visible
from fewshot_cxr.data.images import is_image_name
from fewshot_cxr.data.readers.gathering import Gathering, wrong_root
from fewshot_cxr.data.readers.xlsx_sheet import read_sheet
from fewshot_cxr.records import Record, Records

COVID, NORMAL, OPACITY, VIRAL = "COVID", "Normal", "Lung_Opacity", "Viral Pneumonia"
FOLDERS = {"covid": COVID, "covid19": COVID, "normal": NORMAL, "lungopacity": OPACITY, "viralpneumonia": VIRAL}
# What a folder's films are called; a folder without a name here is passed over.
CLASSES = {
    "four": {name: name for name in (COVID, NORMAL, OPACITY, VIRAL)},
    "without_lung_opacity": {name: name for name in (COVID, NORMAL, VIRAL)},
    "binary": {COVID: COVID, NORMAL: "non-COVID", OPACITY: "non-COVID", VIRAL: "non-COVID"},
}
# The addresses that the sheets name; any other gives its host. Where COVIDx has a word for the source, it is that.
SOURCES = {
    "bimcv.cipf.es": "bimcv",
    "sirm.org": "sirm",
    "eurorad.org": "eurorad",
    "github.com/ieee8023/covid-chestxray-dataset": "cohen",
    "github.com/armiro/covid-cxnet": "covid-cxnet",
    "github.com/ml-workgroup/covid-19-image-repository": "hannover",
    "kaggle.com/c/rsna-pneumonia-detection-challenge": "rsna",
    "kaggle.com/paultimothymooney/chest-xray-pneumonia": "kermany",
}
_DEEPEST = 2  # the archive's own folder, sometimes within a second one of the same name
_SHEET = ".metadata.xlsx"
_NOTES = (
    "patients are unknown: each film counts as its own patient; public copies hold identical COVID films under several "
    "names (30 groups and more): run `fscxr data audit`",
    "nearly every class comes from a source of its own, and Viral Pneumonia from children: a network may learn these",
)


def read_covid19_radiography(root: str | Path, *, classes: str = "four") -> Records:
    """Read the COVID-19 Radiography Database, with or without its `images` and `masks` folders.

    Args:
        root: the folder that holds COVID, Normal, Lung_Opacity and Viral Pneumonia (in any case, with blank or
            underscore; one or two may be absent), or a folder at most two above it.
        classes: "four" as they are; "without_lung_opacity" passes over that folder; "binary" calls all but COVID
            "non-COVID".

    Returns:
        Films by class, in the order of the class's sheet and then by name, below the folder that holds the classes.
        `source` is a short name for the sheet's URL (see SOURCES; any other URL gives its host), `attributes` has the
        URL; `mask_path` is set where there is a mask. A row without a film is "missing", a film without a row is
        taken. A sheet that is absent or cannot be read is noted: the folder's listing stands in for it.

    Raises:
        FileNotFoundError: no such folders, or no film at all.
        ValueError: an unknown option, or two folders of one class.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for name in ("COVID", "Normal"):
        ...         Path(folder, name).mkdir()
        ...         n_bytes = Path(folder, name, f"{name}-1.png").write_bytes(b"a film")
        ...     read_covid19_radiography(folder, classes="binary").count_findings()
        {'COVID': 1, 'non-COVID': 1}
    """
    names = lookup(CLASSES, classes, what="classes of covid19_radiography")
    top, folders = _find_top(Path(root))
    gathering = Gathering(top)
    notes = [f"films lie in {top.relative_to(root)}"] if top != Path(root) else []
    notes += [f"there is no folder {name}" for name in CLASSES["four"] if name not in folders]
    for kind, folder in sorted(folders.items()):
        notes += _gather_class(gathering, top, folder, names.get(kind))
    return gathering.records((*notes, *_NOTES))


def _find_top(root: Path) -> tuple[Path, dict[str, str]]:
    """Return the folder that holds the classes, and the name of each class's folder in it."""
    tops = [root]
    for _ in range(1 + _DEEPEST):
        found = [(top, folders) for top in tops if len(folders := _class_folders(top)) > 1]
        if len(found) == 1:
            return found[0]
        if found:
            break  # such as train and test of somebody's own split: which of them is meant?
        tops = [Path(inside.path) for top in tops if top.is_dir() for inside in _listed(top) if inside.is_dir()]
    raise wrong_root(root, f"one folder with the folders {', '.join(CLASSES['four'])}")


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted((item for item in entries if not item.name.startswith(".")), key=lambda item: item.name)


def _class_folders(top: Path) -> dict[str, str]:
    folders: dict[str, str] = {}
    for item in _listed(top) if top.is_dir() else []:
        kind = _kind(item.name)
        if kind and item.is_dir():
            if kind in folders:
                raise ValueError(f"{top} has two folders of {kind}, {folders[kind]} and {item.name}; remove one")
            folders[kind] = item.name
    return folders


def _key(name: str) -> str:
    """Return a name without what public copies change: "NORMAL-1" is Normal-1, "Lung Opacity" is Lung_Opacity."""
    return name.strip().casefold().replace(" ", "").replace("_", "")


def _kind(name: str) -> str | None:
    return FOLDERS.get(_key(name).replace("-", ""))


def _gather_class(gathering: Gathering, top: Path, folder: str, finding: str | None) -> list[str]:
    """Take the films of one class (finding None: pass over them), and return what is to be noted."""
    sheet, rows, notes = _open_sheet(top, folder)
    images = f"{folder}/images" if (top / folder / "images").is_dir() else folder
    masks = f"{folder}/masks" if images != folder and (top / folder / "masks").is_dir() else None
    n_unlisted = 0
    for row, name, url in _join(
        rows, [item.name for item in _listed(top / images) if is_image_name(item.name)], folder
    ):
        n_unlisted += row is None
        if finding is None:
            gathering.pass_over(f"they are {folder}")
        elif not name:
            gathering.leave_out(row, "", "the row names no film")
        else:
            mask = masks and f"{masks}/{name}"
            film = Record(f"{images}/{name}", (finding,), source=_source(url), mask_path=mask, attributes={"URL": url})
            gathering.add(sheet, row, film)
    unlisted = f"{n_unlisted} films of {folder} have no row in {sheet.name}: taken, without a source"
    return [*notes, unlisted] if rows and n_unlisted else notes


def _open_sheet(top: Path, folder: str) -> tuple[Path, list[tuple[int, str, str]], list[str]]:
    """Return the sheet of a class, its rows as (number, film, URL), and a note where there are none."""
    sheets = [item.name for item in _listed(top) if item.name.lower().endswith(_SHEET)]
    own = [name for name in sheets if _kind(name[: -len(_SHEET)]) == _kind(folder)]
    instead = "films come from the folder, without a source"
    if not own:
        return top / folder, [], [f"{folder}{_SHEET} is not there: {instead}"]
    try:
        return top / own[0], list(_read_sheet(top / own[0])), []
    except Exception as error:  # a broken sheet breaks zipfile in many ways
        return top / folder, [], [f"{own[0]} cannot be read ({str(error) or type(error).__name__}): {instead}"]


def _read_sheet(path: Path) -> Iterator[tuple[int, str, str]]:
    rows = read_sheet(path)
    _, first = next(rows, (1, {}))
    header = {cell.strip().upper(): column for column, cell in reversed(first.items())}
    if "FILE NAME" not in header:
        names = ", ".join(filter(None, reversed(header)))
        raise ValueError(f"it has no column FILE NAME, but {visible(names) or 'nothing'}")
    for number, row in rows:
        yield number, row.get(header["FILE NAME"], "").strip(), row.get(header.get("URL", -1), "").strip()


def _join(rows: list[tuple[int, str, str]], names: list[str], folder: str) -> Iterator[tuple[int | None, str, str]]:
    """Yield (row, file, URL) of every row of a sheet, then of every file that no row names."""
    stems = {os.path.splitext(name)[0]: name for name in names}
    by_key = {_key(stem): name for stem, name in reversed(stems.items())}
    unlisted = dict.fromkeys(names)
    for row, name, url in rows:
        stem = os.path.splitext(name)[0] if is_image_name(name) else name
        file = stems.get(stem) or by_key.get(_key(stem)) or (stem and f"{_spelt_as(folder, stem)}.png")
        unlisted.pop(file, None)
        yield row, file, url
    for name in unlisted:
        yield None, name, ""


def _spelt_as(folder: str, stem: str) -> str:
    """Return the name of an absent film as its folder spells it: Normal-13 for NORMAL-13."""
    return folder + stem[len(folder) :] if _key(stem[: len(folder)]) == _key(folder) else stem


def _source(url: str) -> str | None:
    address = url.casefold().rpartition("//")[2].removeprefix("www.")
    known = (name for start, name in SOURCES.items() if address.startswith(start))
    return next(known, address.partition("/")[0] or None)
