"""The rows of a table become films: what each cell of a row says of its film."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fewshot_cxr.data.ages import years_of
from fewshot_cxr.data.images import is_image_name
from fewshot_cxr.data.no_value import says_nothing
from fewshot_cxr.data.readers.cells import PatientOf, names_in
from fewshot_cxr.records import Record

_TEXTS = ("source", "view", "split", "mask_path", "sex")


def check_header(table: Path, first: Sequence[str], root: Path) -> None:
    """Refuse a table whose first row names a film.

    Raises:
        ValueError: it does, so it is no header.
    """
    film = next((cell.strip() for cell in first if is_image_name(cell.strip()) and (root / cell.strip()).is_file()), "")
    if film:
        raise ValueError(
            f"{table} has no header line, its first row names the film {film}: put a line such as "
            "path,label,patient_id above it"
        )


class Gatherer(Protocol):
    """Takes each row as a film, or the reason why it is none; see `Gathering`."""

    def add(self, table: Path, row: int | None, film: Record) -> None:
        """Take a film."""

    def leave_out(self, row: int | None, path: str, reason: str) -> None:
        """Count a row that cannot be used."""


@dataclass(frozen=True)
class TableRows:
    """How the rows of one table are read.

    Args:
        table: for errors.
        names: its header.
        taken: place of each column that says something, by what it says.
        patient_of: finds the patient in the path where no cell names one.
        path_suffix: put behind every path that does not end with it.
    """

    table: Path
    names: Sequence[str]
    taken: dict[str, int]
    patient_of: PatientOf
    path_suffix: str = ""

    def gather(self, gathering: Gatherer, rows: Sequence[list[str]], first: int) -> None:
        """Add each row as a film, or leave it out; `first` is the number of the first one."""
        others = self._other_columns()
        has_text_ages = "age_years" in self.taken and _has_text(rows, self.taken["age_years"])
        for number, row in enumerate(rows, start=first):
            if not any(row):
                continue
            row += [""] * (len(self.names) - len(row))
            cells = {what: row[index].strip() for what, index in self.taken.items()}
            findings = names_in(cells["label"])
            if fault := self._fault(row, cells, findings):
                gathering.leave_out(number, cells["path"], fault)
                continue
            attributes = {other: row[index] for index, other in others}
            if has_text_ages:
                attributes["age_years"] = cells["age_years"] if years_of(cells["age_years"]) is None else ""
            gathering.add(self.table, number, self._record(row[self.taken["path"]], findings, cells, attributes))

    def _fault(self, row: Sequence[str], cells: dict[str, str], findings: tuple[str, ...]) -> str:
        if any(row[len(self.names) :]):
            return f"the row has {len(row)} cells, the header names {len(self.names)} columns"
        if says_nothing(cells["path"]):
            return "the row names no file"
        if not findings:
            return "the row names no finding"
        both = sorted(set(findings) & set(names_in(cells.get("unstated", ""))))
        return f"the row names {both[0]!r} as a finding and as unstated" if both else ""

    def _record(
        self, name: str, findings: tuple[str, ...], cells: dict[str, str], attributes: dict[str, str]
    ) -> Record:
        if self.path_suffix and not name.rstrip().endswith(self.path_suffix):
            name = name.strip() + self.path_suffix
        text = {what: cells.get(what) or None for what in _TEXTS}
        if text["mask_path"] and says_nothing(text["mask_path"]):
            text["mask_path"] = None
        patient = cells.get("patient", "")
        return Record(
            name,
            findings,
            patient_id=(says_nothing(patient) and self.patient_of(name)) or patient or None,
            group_id=cells.get("group") or None,
            age_years=years_of(cells.get("age_years", "")),
            attributes=attributes,
            unstated=names_in(cells.get("unstated", "")),
            **text,
        )

    def _other_columns(self) -> list[tuple[int, str]]:
        """Return (index, name) of the columns that become attributes; the second "note" is called "note (2)"."""
        counts: Counter[str] = Counter()
        others = []
        for index, name in enumerate(self.names):
            if index not in self.taken.values():
                counts[name] += 1
                others.append((index, name if counts[name] == 1 else f"{name} ({counts[name]})"))
        return others


def _has_text(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Return whether a column of ages holds other things too, such as "adult": these are kept, as an attribute."""
    cells = (row[column].strip() for row in rows if column < len(row))
    return any(cell and years_of(cell) is None for cell in cells)
