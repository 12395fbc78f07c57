"""Any CSV with a file and a finding in each row; our own manifests are such, with one JSON object in the lead lines."""

import json
import os
import re
import secrets
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fewshot_cxr._csv import csv_text, plain_lead
from fewshot_cxr._json import parse_json
from fewshot_cxr._state import state_folder
from fewshot_cxr.data.readers.csv_table import declared_delimiter, parse_rows, read_text, split_lead
from fewshot_cxr.data.readers.repeated_rows import AGREE
from fewshot_cxr.data.readers.table_rows import check_header
from fewshot_cxr.data.readers.whole_table import films_of_table
from fewshot_cxr.records import TABLE_COLUMNS, Record, Records
from fewshot_cxr.unknown_patients import count_unknown, unknown_text
from fewshot_cxr.whole_files import write_bytes, write_text

_KEY = re.compile("[0-9a-f]{32}")
_MOST_KEPT = 1_000  # roots; those that were not written for longest are forgotten


def read_manifest(
    path: str | Path,
    *,
    root: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    patient_column: str | None = None,
    patient_pattern: str | None = None,
    path_suffix: str = "",
    rows: str = AGREE,
    allow_leak: bool = False,
) -> Records:
    """Read a CSV of films (comma, semicolon or tab).

    Columns are found by name, whatever its case, blanks, dashes and underscores (COLUMNS): the file, the finding
    (several separated by `|`), group, patient, source, view, split, mask, age, sex, and findings that nobody looked
    for. All others are kept in `Record.attributes`. Cells such as "nan" or "-" say nothing.

    Args:
        path: the CSV. Lead lines that begin with "# " hold one JSON object, which may name the `root`.
        root: folder that the paths start from; None: the header's where it may be believed (see `root_of`), else the
            CSV's own folder.
        path_column: a name that overrides the search.
        label_column: the same.
        group_column: the same.
        patient_column: the same.
        patient_pattern: regular expression, searched in the path of a film whose row names no patient; its first group
            (or, without one, the whole match) is the patient.
        path_suffix: put behind every path that does not end with it, such as ".dcm".
        rows: of a film that several rows name. "agree": it is left out where they name different findings; "join": it
            has all their findings.
        allow_leak: take films whose `split` column puts a patient on two sides; without it that is an error.

    Returns:
        Films in the order of the rows. Rows without a file or a finding or with more cells than columns, and files that
        are missing, empty or named twice, are in `.problems`; `.notes` says which columns were taken, what cells were
        taken for, and which findings may be one.

    Raises:
        FileNotFoundError: no such CSV, or no readable row.
        ValueError: no CSV, no such column, a root that may not be believed, a path that leaves the root (by `..`, as an
            absolute path or by a link), or a patient in two splits.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     n_bytes = Path(folder, "1.png").write_bytes(b"a film")
        ...     with open(f"{folder}/films.csv", "w") as table:
        ...         print("filename;Finding;Patient ID;ward", file=table)
        ...         print("1.png;pneumonia|effusion;p7;3B", file=table)
        ...     [(film.findings, film.patient_id, film.attributes) for film in read_manifest(f"{folder}/films.csv")]
        [(('pneumonia', 'effusion'), 'p7', {'ward': '3B'})]
    """
    path = Path(path)
    text, notes = read_text(path)
    lead, text = split_lead(text)
    table, header = parse_rows(path, text, ",;\t"), lead_facts(lead)
    first_line = 1 + len(lead) + bool(declared_delimiter(text)[0])
    notes += ("the lead lines are no JSON object: passed over",) if header is None else ()
    place = Path(root) if root is not None else root_of(header or {}, path)
    names = [name.strip() for name in table[0]]
    check_header(path, table[0], place)
    if place.resolve() != path.parent.resolve():
        notes += (f"paths start from {place}, not from the manifest's own folder",)
    return films_of_table(
        path,
        names,
        table[1:],
        place,
        first_row=first_line + 1,
        notes=notes,
        path_column=path_column,
        label_column=label_column,
        group_column=group_column,
        patient_column=patient_column,
        patient_pattern=patient_pattern,
        path_suffix=path_suffix,
        rows=rows,
        allow_leak=allow_leak,
    )


def lead_facts(lead: list[str]) -> dict[str, Any] | None:
    """Return what the lead lines of a manifest say of it: a JSON object, {} without one; None: they are no JSON."""
    try:
        value = parse_json("".join(lead) or "{}")
    except ValueError:
        return None
    return value if isinstance(value, dict) else {}


def write_manifest(
    records: Records, path: str | Path, *, header: dict[str, Any] | None = None, keep_paths: bool = False
) -> None:
    """Write films as a manifest that `read_manifest` gives back, whole or not at all.

    Args:
        records: the films; problems and notes are not written.
        path: the CSV. Its lead line holds the data hash, counts, `header`, and where the films lie, if elsewhere: as a
            path from the manifest's own folder, or as a key that this user alone can read (see `root_of`).
        header: more plain JSON values, such as the seed of a split.
        keep_paths: name a root above or beside the manifest, too.

    A cell that a spreadsheet would take for a formula has an apostrophe in front, which the reader takes off. An
    attribute that only some films have comes back as "" for the others. The column `unstated` is there where some film
    needs it.

    Raises:
        ValueError: the name of a finding holds "|", which separates findings, or begins or ends with a blank.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     films = Records((Record("1.png", ("normal",), patient_id="p1", split="train"),), Path(folder))
        ...     write_manifest(films, f"{folder}/films.csv")
        ...     Path(folder, "films.csv").read_text().splitlines()[2]
        '1.png,normal,p1,,,,train,,,'
    """
    path = Path(path)
    lead: dict[str, Any] = {"hash": records.data_hash, "n_films": len(records), **(header or {})}
    lead |= header_root(records.root, path, keep_paths=keep_paths)
    if told := unknown_text(count_unknown(records), len(records)):
        lead["patients"] = told
    lead["n_by_finding"] = records.count_by(lambda film: "|".join(film.findings))
    # One called like a column of ours ("label" beside a chosen "finding") comes after it: the reader takes the first.
    extra = list(dict.fromkeys(name for film in records for name in film.attributes))
    written = list(TABLE_COLUMNS)
    if any(film.unstated for film in records) or any(name.strip().lower() == "unstated" for name in extra):
        written.append("unstated")
    rows = [[*written, *extra], *(_cells(film, written, extra) for film in records)]
    write_text(path, f"# {plain_lead(json.dumps(lead, ensure_ascii=False))}\n{csv_text(rows)}")


def _cells(film: Record, written: Iterable[str], extra: Iterable[str]) -> list[str]:
    for name in (*film.findings, *film.unstated):
        if "|" in name or not name or name != name.strip():
            raise ValueError(
                f"{film.path}: a manifest cannot hold the finding {name!r}; use a name without | and blanks"
            )
    joined = {"label": "|".join(film.findings), "unstated": "|".join(film.unstated)}
    known = [joined[name] if name in joined else getattr(film, name) for name in written]
    cells = ["" if value is None else str(value) for value in known]
    return [*cells, *(film.attributes.get(name, "") for name in extra)]


def header_root(root: Path, manifest: Path, *, keep_paths: bool = False) -> dict[str, str]:
    """Return what the header of a manifest is to say of the root of its films, and keep the root for this user.

    Args:
        root: of the films.
        manifest: to write.
        keep_paths: name a root that is not below the manifest's own folder, too.

    Returns:
        {} where it is the manifest's own folder; else `root_key`, and `root`, relative, where it is below it.
    """
    root, home = root.resolve(), manifest.parent.resolve()
    if root == home:
        return {}
    is_below = root.is_relative_to(home)
    told = {"root": root.relative_to(home).as_posix()} if is_below else {"root": str(root)} if keep_paths else {}
    try:
        return told | {"root_key": _keep(root)}
    except OSError as error:
        if not is_below:
            warnings.warn(f"{manifest}: where its films lie is not kept ({error}): read it with --root", stacklevel=3)
        return told


def root_of(header: Mapping[str, Any], manifest: Path) -> Path:
    """Return the root of the films of a manifest, as its header says it and may be believed.

    Raises:
        ValueError: the header has a key that is not known here, or names a root that is neither below the manifest's
            own folder nor among those that were kept.
    """
    home, named, key = manifest.parent, header.get("root"), header.get("root_key")
    if named is None and key is None:
        return home
    kept = _kept()
    place = _resolved(home, named)
    is_below = place is not None and place.is_relative_to(home.resolve())
    if place is not None and (is_below or place in kept.values()) and (os.path.isdir(place) or key not in kept):
        return home / str(named) if is_below else place
    if isinstance(key, str) and key in kept:
        return kept[key]
    why = (
        "was written by another user or on another machine, and does not say where its films lie"
        if named is None
        else f"names the root {named!r}, which is neither below its own folder nor kept by a `data read` of yours here"
    )
    raise ValueError(
        f"{manifest} {why}: name the folder with --root PATH (`fscxr data read {manifest} --root PATH --out NEW.csv` "
        "writes one that needs no flag)"
    )


def _resolved(home: Path, named: Any) -> Path | None:
    try:
        return (home / named).resolve() if isinstance(named, str) else None
    except (OSError, RuntimeError, ValueError):  # a NUL, a long name, a circle of links
        return None


def _folder() -> Path:
    folder = state_folder() / "roots"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _kept() -> dict[str, Path]:
    """Return the roots that were kept, by their keys; none where there is no place to keep them."""
    kept: dict[str, Path] = {}
    with suppress(OSError):
        for file in _folder().iterdir():
            if _KEY.fullmatch(file.name):
                with suppress(OSError):  # another process has just forgotten it
                    kept[file.name] = Path(os.fsdecode(file.read_bytes()))
    return kept


def _keep(root: Path) -> str:
    """Return the key of a root: a file of its name holds the root, so that two who write at once lose nothing."""
    folder, kept = _folder(), _kept()
    key = next((key for key, known in kept.items() if known == root), "") or secrets.token_hex(16)
    write_bytes(folder / key, os.fsencode(root))
    (folder / key).chmod(0o600)
    if len(kept) >= _MOST_KEPT:
        by_age = sorted((folder / name for name in kept), key=lambda file: file.stat().st_mtime_ns)
        for file in by_age[: len(kept) - _MOST_KEPT + 1]:
            file.unlink(missing_ok=True)
    return key
