"""Any CSV with a file and a finding in each row; our own manifests are such, with one JSON object in the lead lines."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fewshot_cxr._checks import nearest
from fewshot_cxr.records import Problem, Record, Records, resolve_below
from fewshot_cxr.storage import write_text

COLUMNS = {
    "path": ("path", "file", "filename", "image"),
    "label": ("label", "finding", "class"),
    "group": ("group_id",),
    "patient": ("patient_id", "patientid"),
    "source": ("source",),
    "view": ("view",),
    "split": ("split",),
    "mask_path": ("mask_path",),
    "age_years": ("age_years",),
    "sex": ("sex",),
}
_NEEDED = ("path", "label")
_WRITTEN = ("path", "label", "patient_id", "group_id", "source", "view", "split", "mask_path", "age_years", "sex")


def read_manifest(
    path: str | Path,
    *,
    root: str | Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    patient_column: str | None = None,
) -> Records:
    """Read a CSV of films (comma, semicolon or tab).

    Columns are found by name, in any case, the first that is there: `path, file, filename, image`; `label, finding,
    class` (several findings separated by `|`); `group_id`; `patient_id, patientid`; and `source, view, split,
    mask_path, age_years, sex`. All others are kept in `Record.attributes`.

    Args:
        path: the CSV. Lead lines that begin with "# " hold one JSON object, which may name the `root`.
        root: folder that the paths start from; None: the header's, else the CSV's own folder.
        path_column, label_column, group_column, patient_column: names that override the search.

    Returns:
        Films in the order of the rows. Rows without a file or a finding, and files that are missing, empty or named
        twice, are in `.problems`; `.notes` says which columns were taken.

    Raises:
        FileNotFoundError: no such CSV, or no readable row.
        ValueError: no such column, or a path that leaves the root (by `..`, as an absolute path or through a link).
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    header, text, notes = _open(path)
    rows = list(csv.reader(io.StringIO(text), delimiter=_delimiter(text)))
    if not rows:
        raise ValueError(f"{path} is empty; a header with a path and a label column was expected")
    given = {"path": path_column, "label": label_column, "group": group_column, "patient": patient_column}
    taken = _take_columns(path, [name.strip() for name in rows[0]], given)
    notes += ("columns taken: " + ", ".join(f"{what} from {rows[0][at].strip()}" for what, at in taken.items()),)
    place = Path(root) if root is not None else path.parent / str(header.get("root", "."))
    if place.resolve() != path.parent.resolve():
        notes += (f"paths start from {place}, not from the manifest's own folder",)
    films, problems = _read_rows(path, rows, taken, place, first_line=1 + int(header.get("_n_lines", 0)))
    if not films:
        first = f", the first: row {problems[0].row}, {problems[0].path}: {problems[0].reason}" if problems else ""
        raise FileNotFoundError(f"{path}: none of its {len(rows) - 1} rows is readable below {place}{first}")
    return Records(tuple(films), place, tuple(problems), notes)


def _open(path: Path) -> tuple[dict[str, Any], str, tuple[str, ...]]:
    raw = path.read_bytes()
    notes: tuple[str, ...] = ()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text, notes = raw.decode("latin-1"), (f"{path.name} is not UTF-8: read as Latin-1",)
    lines = text.splitlines(keepends=True)
    n_lead = next((number for number, line in enumerate(lines) if not line.startswith("# ")), len(lines))
    header: dict[str, Any] = {}
    if n_lead:
        try:
            value = json.loads("".join(line[2:] for line in lines[:n_lead]))
            header = value if isinstance(value, dict) else {}
        except ValueError:
            notes += ("the lead lines are no JSON object: passed over",)
    return header | {"_n_lines": n_lead}, "".join(lines[n_lead:]), notes


def _delimiter(text: str) -> str:
    first = text.split("\n", 1)[0]
    return max(",;\t", key=first.count)


def _take_columns(path: Path, names: list[str], given: dict[str, str | None]) -> dict[str, int]:
    at = {name.lower(): index for index, name in reversed(list(enumerate(names)))}
    taken: dict[str, int] = {}
    for what, candidates in COLUMNS.items():
        asked = given.get(what)
        if asked is not None:
            if asked.lower() not in at:
                raise ValueError(
                    f"--{what}-column {asked}: {path} has no such column{nearest(asked, names)}; "
                    f"it has {', '.join(names)}"
                )
            taken[what] = at[asked.lower()]
            continue
        found = next((at[name] for name in candidates if name in at and at[name] not in taken.values()), None)
        if found is not None:
            taken[what] = found
        elif what in _NEEDED:
            raise ValueError(
                f"{path} has no {what} column (looked for {', '.join(candidates)}); it has {', '.join(names)}: "
                f"name one with --{what}-column"
            )
    return taken


def _read_rows(
    path: Path, rows: list[list[str]], taken: dict[str, int], root: Path, *, first_line: int
) -> tuple[list[Record], list[Problem]]:
    names = [name.strip() for name in rows[0]]
    others = [(index, name) for index, name in enumerate(names) if index not in taken.values()]
    state_of = _file_states(path, root)
    films: list[Record] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for number, row in enumerate(rows[1:], start=first_line + 1):
        if not any(row):
            continue
        row += [""] * (len(names) - len(row))
        cells = {what: row[index].strip() for what, index in taken.items()}
        findings = tuple(name.strip() for name in cells["label"].split("|") if name.strip())
        name, reason = cells["path"].replace("\\", "/"), ""
        if not name or not findings:
            reason = "the row names no file" if not name else "the row names no finding"
        else:
            name, reason = state_of(name, number)
            reason = reason or ("the file is named in an earlier row" if name in seen else "")
        if reason:
            problems.append(Problem(number, name, reason))
            continue
        seen.add(name)
        attributes = {other: row[index] for index, other in others}
        films.append(_record(name, findings, cells, attributes))
    return films, problems


def _record(name: str, findings: tuple[str, ...], cells: dict[str, str], attributes: dict[str, str]) -> Record:
    age = cells.get("age_years", "")
    try:
        age_years = float(age) if age else None
    except ValueError:
        age_years, attributes["age_years"] = None, age
    text = {what: cells.get(what) or None for what in ("source", "view", "split", "mask_path", "sex")}
    return Record(
        name,
        findings,
        patient_id=cells.get("patient") or None,
        group_id=cells.get("group") or None,
        age_years=age_years,
        attributes=attributes,
        **text,
    )


def _file_states(manifest: Path, root: Path) -> Callable[[str, int], tuple[str, str]]:
    """Return a function from (path, row) to (path below the root, what is wrong with it or "").

    Each folder is listed once: asking the file system about every one of 100,000 films takes far longer.
    """
    real_root = root.resolve()
    listings: dict[str, dict[str, int]] = {}

    def sizes(folder: str, row: int) -> dict[str, int]:
        if folder not in listings:
            _insist_below(manifest, row, folder or ".", root)
            listings[folder] = _list_sizes(real_root, folder)
        return listings[folder]

    def state(name: str, row: int) -> tuple[str, str]:
        if os.path.isabs(name) or ".." in name.split("/"):
            name = _insist_below(manifest, row, name, root).relative_to(real_root).as_posix()
        name = os.path.normpath(name).replace("\\", "/")
        folder, _, file = name.rpartition("/")
        size = sizes(folder, row).get(file)
        if size is None:
            return name, "the file is missing"
        if size == -1:
            size = _insist_below(manifest, row, name, root).stat().st_size
        return name, "the file is empty" if size == 0 else ""

    return state


def _list_sizes(real_root: Path, folder: str) -> dict[str, int]:
    """Return size by name for one folder; -1 stands for a link, which is looked at one by one."""
    try:
        with os.scandir(real_root / folder) as entries:
            return {
                entry.name: -1 if entry.is_symlink() else entry.stat().st_size for entry in entries if entry.is_file()
            }
    except OSError:
        return {}


def _insist_below(manifest: Path, row: int, name: str, root: Path) -> Path:
    try:
        return resolve_below(root, name)
    except ValueError as error:
        raise ValueError(f"{manifest}, row {row}: {error}") from None


def write_manifest(records: Records, path: str | Path, *, header: dict[str, Any] | None = None) -> None:
    """Write films as a manifest that `read_manifest` gives back, whole or not at all.

    Args:
        records: the films; problems and notes are not written.
        path: the CSV. Its lead line holds the data hash, counts, `header`, and the root where it lies elsewhere.
        header: more plain JSON values, such as the seed of a split.
    """
    path = Path(path)
    lead: dict[str, Any] = {"hash": records.data_hash, "n_films": len(records), **(header or {})}
    if records.root.resolve() != path.parent.resolve():
        lead["root"] = str(records.root.resolve())
    lead["n_by_finding"] = records.count_by(lambda film: "|".join(film.findings))
    extra = [name for name in dict.fromkeys(n for film in records for n in film.attributes) if name not in _WRITTEN]
    text = io.StringIO()
    text.write(f"# {json.dumps(lead, ensure_ascii=False)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_WRITTEN, *extra])
    writer.writerows(_cells(film, extra) for film in records)
    write_text(path, text.getvalue())


def _cells(film: Record, extra: Iterable[str]) -> list[str]:
    known = ["" if getattr(film, name) is None else str(getattr(film, name)) for name in _WRITTEN[2:]]
    return [film.path, "|".join(film.findings), *known, *(film.attributes.get(name, "") for name in extra)]
