"""A folder for each finding: root/<finding>/*.png, or root/<split>/<finding>/*.png; DICOM films with their header."""

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fewshot_cxr._checks import first_of
from fewshot_cxr.data.dicom_header import AGE_TEXT, read_header
from fewshot_cxr.data.dicom_kind import is_lateral
from fewshot_cxr.data.film import LATERAL
from fewshot_cxr.data.images import DICOM_SUFFIXES, is_image_name
from fewshot_cxr.data.plain_file import check_plain
from fewshot_cxr.data.readers.cells import alike_findings, patient_of_path, patients_note
from fewshot_cxr.data.readers.film_walk import Walk, descend, walk_films
from fewshot_cxr.data.readers.folder_names import is_form, known_reader
from fewshot_cxr.data.readers.mask_files import part_masks
from fewshot_cxr.data.split_names import split_named
from fewshot_cxr.records import Problem, Record, Records

_LEAST_SALT_BYTES = 16
_MOST_NAMES = 5
_LOOSE = "lies in no finding's folder"
_MOST_FINDINGS = 12  # more folders are rather patients


class Meaning(NamedTuple):
    """What the folders of one path say; None: nothing."""

    split: str | None
    finding: str | None


def read_image_folder(
    root: str | Path,
    *,
    patient_pattern: str | None = None,
    salt_file: str | Path | None = None,
    keep_patient_ids: bool = False,
    any_name: bool = False,
    any_modality: bool = False,
    finding: str | None = None,
) -> Records:
    """Read films whose folder is their finding.

    Of a DICOM the view, patient, manufacturer (as source), sex, age and laterality are taken from its header.

    Args:
        root: holds a folder for each finding (its films may lie deeper), or train/val/test folders of such. A folder
            that holds nothing but one such root, as a zip leaves it, will do. Folders called images, png and the like
            name no finding, those called masks and the like hold no films.
        patient_pattern: regular expression, searched in the path below the root; its first group (or, without one,
            the whole match) is the patient, before what a DICOM's header says. None: each picture is its own patient.
        salt_file: its bytes, 16 at least, key the hash under which patient ids of DICOM headers appear; None: a random
            key, so that they are others in the next run.
        keep_patient_ids: take these ids in clear.
        any_name: also take files that are a DICOM by content, whatever their name.
        any_modality: also take DICOM files that are no X-rays of the chest by their header, and mark them.
        finding: of the films in no finding's folder; None: they are problems.

    Returns:
        Films sorted by path, with the mask of their name, if there is one. Pictures outside any finding's folder, empty
        files, DICOM files without a film, linked folders and links that leave the root are in `.problems`; masks and
        files that are no films by their names are counted in `.notes`. Hidden files and folders are passed over.

    Raises:
        FileNotFoundError: no film, or no such folder or salt file.
        ValueError: the pattern is no regular expression, the salt too short, or the finding blank or of no film.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for name in ("normal", "covid19"):
        ...         Path(folder, name).mkdir()
        ...         n_bytes = Path(folder, name, f"{name}_p7_1.png").write_bytes(b"a film")
        ...     [(film.findings, film.patient_id) for film in read_image_folder(folder, patient_pattern="p[0-9]+")]
        [(('covid19',), 'p7'), (('normal',), 'p7')]
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; expected {root}/<finding>/*.png")
    if finding is not None and not finding.strip():
        raise ValueError("--finding is blank; name the finding of the films that lie in no finding's folder")
    place = descend(root)
    patient_of = patient_of_path(patient_pattern)
    header_of = partial(read_header, salt=_read_salt(salt_file), keep_ids=keep_patient_ids, any_modality=any_modality)
    found = walk_films(place, any_name=any_name)
    parted, problems = part_masks(found.paths), [*found.problems]
    meanings, notes = path_meanings(parted.films)
    films: list[Record] = []
    n_by_header = 0
    for path in parted.films:
        film = _film(place, path, meanings[path], finding, header_of)
        if isinstance(film, Problem):
            problems.append(film)
            continue
        patient = patient_of(path)
        n_by_header += patient is None and film.patient_id is not None
        films.append(replace(film, patient_id=patient or film.patient_id, mask_path=parted.mask_of.get(path)))
    passed_over = (*parted.notes, *found.notes, *_without_films(place, found))
    if not films:
        raise _nothing(place, problems, (*passed_over, *(_known_set(root, found) or _tables(root))))
    _check_effect(finding, list(meanings.values()))
    notes += (f"the films are read from {place}",) if place != root else ()
    notes += (_how_ids_hold(salt_file is not None, keep_patient_ids),) if n_by_header else ()
    notes += _no_effect(films, salt_file is not None, keep_patient_ids) if not n_by_header else ()
    notes += (*_header_notes(films), *passed_over, *_known_set(root, found))
    notes += (*patients_note(films, pattern=patient_pattern), *alike_findings(films))
    return Records(tuple(films), place, tuple(problems), notes)


def takes_finding(root: str | Path) -> bool:
    """Return whether `--finding` would name the finding of some film of a folder: one in no finding's folder.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from fewshot_cxr.data.synthetic import make_synthetic
        >>> with TemporaryDirectory() as folder:
        ...     films = make_synthetic(folder, n_patients=1, findings=["normal"], size_px=32)
        ...     takes_finding(f"{folder}/films"), takes_finding(f"{folder}/films/normal")
        (False, True)
    """
    paths = walk_films(descend(Path(root)), any_name=True).paths
    return any(meaning.finding is None for meaning in path_meanings(part_masks(paths).films)[0].values())


def _film(
    root: Path, path: str, meaning: Meaning, finding: str | None, header_of: Callable[[Path, Record], Record]
) -> Record | Problem:
    named = meaning.finding or finding
    if named is None:
        return Problem(None, path, _LOOSE)
    if found := _problem(root, path):
        return found
    film = Record(path, (named,), split=meaning.split)
    # No other name than a picture's is here but for its being a DICOM.
    if Path(path).suffix.lower() not in DICOM_SUFFIXES and is_image_name(Path(path).name):
        return film
    try:
        return header_of(root / path, film)
    except OSError as error:
        return Problem(None, path, str(error), "unreadable")


def _read_salt(file: str | Path | None) -> bytes:
    if file is None:
        return secrets.token_bytes(32)
    try:
        salt = Path(file).read_bytes()
    except OSError as error:
        raise type(error)(f"--salt-file {file} cannot be opened: {error.strerror}") from error
    if len(salt) < _LEAST_SALT_BYTES:
        raise ValueError(
            f"--salt-file {file} holds {len(salt)} bytes, fewer than {_LEAST_SALT_BYTES}; make one with "
            '`python -c "import secrets; print(secrets.token_hex())" > FILE` and keep it secret'
        )
    return salt


def _problem(root: Path, path: str) -> Problem | None:
    file = root / path
    if path != path.encode(errors="replace").decode():
        return Problem(None, path, "has a name that is not UTF-8")
    try:
        if file.is_symlink() and not file.resolve().is_relative_to(root.resolve()):
            return Problem(None, path, "is a link that leaves the folder")
        check_plain(found := file.stat())
        return None if found.st_size else Problem(None, path, "is empty", "unreadable")
    except RuntimeError:  # Path.resolve before Python 3.13; from then on the OSError of stat
        return Problem(None, path, "cannot be opened: its links lead in a circle", "unreadable")
    except OSError as error:
        kind = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
        return Problem(None, path, f"cannot be opened: {error.strerror or error}", kind)


def _nothing(root: Path, problems: list[Problem], notes: Sequence[str]) -> FileNotFoundError:
    inside = ", ".join(sorted(item.name for item in root.iterdir())[:5]) or "nothing"
    first = f"; {len(problems)} left out, the first: {problems[0].path} {problems[0].reason}" if problems else ""
    is_loose = problems and all(problem.reason == _LOOSE for problem in problems)
    way_out = "; name their finding with --finding" if is_loose else ""
    return FileNotFoundError(
        f"{root} holds no film: expected {root}/<finding>/*.png (or .jpg, .tif, .dcm), found {inside}{first}{way_out}"
        + "".join(f"; {note}" for note in notes)
    )


def _without_films(root: Path, found: Walk) -> tuple[str, ...]:
    """Name the folders, of findings perhaps, in which nothing is that could be a film."""
    known = {path.partition("/")[0] for path in (*found.paths, *(problem.path for problem in found.problems))}
    names = sorted(item.name for item in root.iterdir() if item.name not in known and item.is_dir())
    names = [name for name in names if not (name.startswith(".") or (root / name).is_symlink())]
    return (f"no film lies in the folder {first_of(names, _MOST_NAMES)}",) if names else ()


def _check_effect(finding: str | None, meanings: Sequence[Meaning]) -> None:
    """Refuse a finding that no film takes."""
    if finding is not None and all(meaning.finding for meaning in meanings):
        names = sorted({str(meaning.finding) for meaning in meanings})
        raise ValueError(
            f"--finding {finding} has no effect: every film lies in a finding's folder "
            f"({first_of(names, _MOST_NAMES)}); leave it out, name one of these folders, or rename "
            "the findings (data read --map OLD=NEW)"
        )


def _no_effect(films: list[Record], has_salt: bool, are_clear: bool) -> tuple[str, ...]:
    if not (has_salt or are_clear):
        return ()
    flag = "--salt-file" if has_salt else "--keep-patient-ids"
    return (f"{flag} has no effect: of {len(films)} films none takes its patient from the header of a DICOM",)


def _known_set(root: Path, found: Walk) -> tuple[str, ...]:
    """Say which reader knows the set, where a table of a public one lies here."""
    reader = known_reader([*(Path(path).name for path in found.others), *(item.name for item in root.iterdir())])
    if reader is None:
        return ()
    return (f"a table of a public set lies here: {reader}:{root} reads it by that table, with its splits and patients",)


def _tables(root: Path) -> tuple[str, ...]:
    """Name a table that may hold the findings."""
    table = next((item for item in sorted(root.iterdir()) if item.suffix.lower() in (".csv", ".tsv")), None)
    return () if table is None else (f"a table lies there: if it names the findings, take it as the source: {table}",)


def _how_ids_hold(has_salt: bool, are_clear: bool) -> str:
    if are_clear:
        return "patient ids are those of the DICOM headers, in clear: keep what is made from them as safe as the films"
    if has_salt:
        return "patient ids of DICOM headers are keyed hashes: the same --salt-file gives the same ids"
    return "patient ids of DICOM headers are keyed hashes that hold for this run only; --salt-file makes them lasting"


def _header_notes(films: list[Record]) -> list[str]:
    n_lateral = sum(is_lateral(film.view) for film in films)
    told = [(n_lateral, LATERAL), (sum("age_text" in film.attributes for film in films), AGE_TEXT)]
    return [f"{count} {'film' if count == 1 else 'films'}: {note}" for count, note in told if count]


def path_meanings(paths: Sequence[str]) -> tuple[dict[str, Meaning], tuple[str, ...]]:
    """Read the folders of each path: [split/]finding[/deeper], wherever a folder of the form alone (images) comes in.

    Args:
        paths: of films, below one root.

    Returns:
        By path, what it says; and what should be known of it.
    """
    folders = {path: [name for name in path.split("/")[:-1] if not is_form(name)] for path in paths}
    has_splits = any(len(names) > 1 and split_named(names[0]) for names in folders.values())
    meanings: dict[str, Meaning] = {}
    strangers: Counter[str] = Counter()
    for path, names in folders.items():
        split = split_named(names[0]) if names else None
        if has_splits and names and split is None:
            strangers[names[0]] += 1
        below = names[1:] if split or has_splits else names
        meanings[path] = Meaning(split, below[0] if below else None)
    notes = [
        f"the folder {name} lies beside those of splits and means none that is known: no split for its films ({count})"
        for name, count in sorted(strangers.items())
    ]
    return meanings, (*notes, *_one_finding(folders.values(), {meaning.finding for meaning in meanings.values()}))


def _one_finding(folders: Iterable[list[str]], findings: set[str | None]) -> list[str]:
    """Say where all films have one finding, though the folders inside may be the findings that were meant."""
    inner = sorted({names[1] for names in folders if len(names) > 1})
    is_told = 1 < len(inner) <= _MOST_FINDINGS and not any(map(split_named, inner))
    if len(findings) > 1 or None in findings or not is_told:
        return []
    told = f"all films are called {findings.pop()}, as the one folder is"
    return [f"{told}; if {', '.join(inner)} in it are the findings, name that folder instead"]
