"""COVIDx: the train and test lists of COVID-Net, in every version, and the lists that its scripts write."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fewshot_cxr._checks import first_of, lookup
from fewshot_cxr.data.readers.csv_table import read_text
from fewshot_cxr.data.readers.gathering import Gathering, Row, wrong_root
from fewshot_cxr.records import Record, Records

# The order is that of the default. The first scripts of all told bacteria from viral pneumonia.
LABELS = {
    "multi-class": ("normal", "pneumonia", "COVID-19", "bacteria", "viral"),
    "binary": ("negative", "positive"),
    "severity": ("level1", "level2"),
}
_KINDS = tuple(LABELS)
_KIND_OF = {label: kind for kind, labels in LABELS.items() for label in labels}
_SOURCE_REPAIRS = {"rnsa": "rsna"}
_LIST_NAME = re.compile(r"(train|val|valid|test)(?:_(.+))?\.txt", re.IGNORECASE)
_OFFICIAL = re.compile(r"COVIDx_?(CXR-)?(\d*)([A-Z]?)", re.IGNORECASE)
_SPLIT_OF = {"valid": "val"}
# A script that carves val out of train leaves its films where they are.
_FOLDERS = {"train": ("train",), "val": ("val", "valid", "train"), "test": ("test",)}
_N_NAMED = 5


class _Version(NamedTuple):
    name: str
    rank: tuple[int, ...]
    lists: dict[str, Path]


def read_covidx(root: str | Path, *, version: str | None = None) -> Records:
    """Read one version of COVIDx.

    Args:
        root: holds the lists `{train,test}_COVIDx<V>.txt` (or `{train,val,test}[_<name>].txt`), itself or in `labels/`,
            and the films in `data/{train,test}/` or `{train,test}/`.
        version: "1" (the one without a number) to "9B", "CXR-3A", "Sev", or <name> of a list that a script wrote
            ("unnamed" for train.txt); in any case. None: the newest that is there, multi-class before binary before
            severity, COVIDx's own lists before others.

    Returns:
        Films in the order of the lists. `split` is the list, `patient_id` and `source` are the list's own (`rnsa` is
        read as `rsna`; no source where the line has none). Ids are one namespace: none occurs in two sources.
        `.notes` says which version was taken and names patients that are in several lists.

    Raises:
        FileNotFoundError: no list, or no film of a list.
        ValueError: no such version; a list of which no line is one of a label file.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Path(folder, "train").mkdir()
        ...     n_bytes = Path(folder, "train/1.png").write_bytes(b"a film")
        ...     n_letters = Path(folder, "train_COVIDx8A.txt").write_text("17 1.png COVID-19 sirm")
        ...     [(film.findings, film.patient_id, film.source, film.split) for film in read_covidx(folder)]
        [(('COVID-19',), '17', 'sirm', 'train')]
    """
    root = Path(root)
    versions, notes = _find_versions(root)
    if not versions:
        raise wrong_root(root, "{train,test}_COVIDx*.txt (`patient file label [source]` a line), in it or in labels/")
    chosen, which = _choose(versions, version)
    gathering = Gathering(root)
    rows: list[Row] = []
    for split in (name for name in _FOLDERS if name in chosen.lists):
        path, folder = chosen.lists[split], _film_folder(root, split)
        for row in parse_label_file(path, above=f"{folder}/", split=split):
            rows.append(row)
            if row.fault:
                row = row._replace(fault=f"the line {row.fault}")
            elif row.film.source in _SOURCE_REPAIRS:
                row = row._replace(film=replace(row.film, source=_SOURCE_REPAIRS[row.film.source]))
            gathering.take(path, row)
    records = gathering.records()
    notes = [which, *notes, *_notes_on_rows(rows), *_notes_on_patients(records)]
    return replace(records, notes=(*notes, *records.notes))


def parse_label_file(path: str | Path, *, above: str = "", split: str | None = None) -> list[Row]:
    """Read a label file, `patient file label [source]` in each line, from the right: patients may hold blanks.

    A last word that is a label means that the line has no source. Empty lines are no rows; a line that cannot be read
    has its `fault` said.

    Args:
        path: of the label file.
        above: what stands before the name of every film's file.
        split: of every film.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no line of it is one of a label file.
    """
    path = Path(path)
    rows = list(_parse(path, above, split))
    if all(row.fault for row in rows):
        first = f"; line {rows[0].number} {rows[0].fault}" if rows else ""
        raise ValueError(f"{path} is no label file of COVIDx, `patient file label [source]` in each line{first}")
    return rows


def _parse(path: Path, above: str = "", split: str | None = None) -> Iterator[Row]:
    lines = enumerate(read_text(path)[0].split("\n"), start=1)
    return (_parse_line(path, number, line, above, split) for number, line in lines if line.strip())


def _parse_line(path: Path, number: int, line: str, above: str, split: str | None) -> Row:
    words = line.split()
    source = words.pop() if words[-1] not in _KIND_OF else None
    if len(words) < 3 or words[-1] not in _KIND_OF:
        fault = f"reads {line.strip()!r}: a patient, a file and one of {', '.join(_KIND_OF)} were expected"
        return Row(number, Record(path.name, ()), fault)
    patient, name, label = " ".join(words[:-2]), words[-2], words[-1]
    return Row(number, Record(above + name, (label,), patient_id=patient, source=source, split=split))


def _find_versions(root: Path) -> tuple[dict[str, _Version], list[str]]:
    """Return the versions below the root by their name in lower case, and notes on lists that are not taken."""
    versions: dict[str, _Version] = {}
    notes = []
    for folder in (root / "labels", root):
        for path in sorted(folder.glob("*.txt")):
            found = _LIST_NAME.fullmatch(path.name)
            if not found or not path.is_file():
                continue
            split = _SPLIT_OF.get(found[1].lower(), found[1].lower())
            kind = next((_KIND_OF[row.film.finding] for row in _parse(path) if not row.fault), None)
            if kind is None:
                notes.append(f"{path.name} is not taken for a list: none of its lines is one of a label file")
                continue
            name, rank = _name_and_rank(found[2] or "", kind)
            version = versions.setdefault(name.lower(), _Version(name, rank, {}))
            if split in version.lists or any(other.parent != folder for other in version.lists.values()):
                there = ", ".join(other.relative_to(root).as_posix() for other in version.lists.values())
                notes.append(f"{path.relative_to(root).as_posix()} is not taken: version {name} is in {there}")
            else:
                version.lists[split] = path
    return versions, notes


def _name_and_rank(suffix: str, kind: str) -> tuple[str, tuple[int, ...]]:
    """Return the version that a file's name stands for, and its rank: the smallest is the default."""
    if "sev" in suffix.lower():
        return "Sev", (0, _KINDS.index("severity"))
    official = _OFFICIAL.fullmatch(suffix)
    if not official:
        numbers = [-int(number) for number in re.findall(r"\d+", suffix)]
        return suffix or "unnamed", (1, _KINDS.index(kind), *(numbers or [0]))
    series, number, letter = (part or "" for part in official.groups())
    name = f"{series.upper()}{number or 1}{letter.upper()}"
    return name, (0, _KINDS.index(kind), -bool(series), -int(number or 1))


def _choose(versions: dict[str, _Version], asked: str | None) -> tuple[_Version, str]:
    ranked = sorted(versions.values(), key=lambda version: (version.rank, version.name))
    if asked is None:
        chosen = ranked[0]
        others = ", ".join(version.name for version in ranked[1:])
        more = f" (there are also {others}: name one as version)" if others else ""
        which = f"version {chosen.name} of COVIDx is read: the newest, multi-class before binary before severity{more}"
    else:
        by_name = {version.name: version for version in ranked}
        known = versions.get(asked.strip().lower())
        chosen = lookup(by_name, known.name if known else asked, what="version of COVIDx")
        which = f"version {chosen.name} of COVIDx is read"
    absent = [split for split in ("train", "test") if split not in chosen.lists]
    return chosen, which + "".join(f"; it has no {split} list here" for split in absent)


def _film_folder(root: Path, split: str) -> str:
    places = [f"{above}{name}" for name in _FOLDERS[split] for above in ("data/", "")]
    return next((place for place in places if (root / place).is_dir()), places[0])


def _notes_on_rows(rows: list[Row]) -> list[str]:
    sources = Counter(row.film.source for row in rows if not row.fault)
    notes = [f"{sources[bad]} rows say {bad}: read as {good}" for bad, good in _SOURCE_REPAIRS.items() if sources[bad]]
    return notes + ([f"{sources[None]} rows state no source"] if sources[None] else [])


def _notes_on_patients(films: Iterable[Record]) -> list[str]:
    splits: dict[str, set[str]] = {}
    for film in films:
        splits.setdefault(film.patient_id or "", set()).add(film.split or "")
    shared = sorted(patient for patient, names in splits.items() if len(names) > 1)
    if not shared:
        return []
    names = first_of(shared, _N_NAMED)
    return [f"{len(shared)} patients are in several of its lists ({names}): divide it anew with fscxr data split"]
