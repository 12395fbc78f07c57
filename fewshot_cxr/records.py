"""One film is a `Record`; what a reader returns is `Records`. Nothing is dropped in silence: see `.problems`."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path, PurePath
from typing import Any, overload

from fewshot_cxr._html import counts_text, cross_picture, facts_text, html_table

_MOST_REASONS = 5
_source, _split = attrgetter("source"), attrgetter("split")
# What of a film a manifest and a data frame hold, in this order; "label" is its findings.
TABLE_COLUMNS = ("path", "label", "patient_id", "group_id", "source", "view", "split", "mask_path", "age_years", "sex")


@dataclass(frozen=True, slots=True)
class Record:
    """One film. `path` is relative to `Records.root`, with forward slashes, on every system.

    `group_id` joins what must stay on one side of a split (a patient with its near-duplicates); see `group`.
    `attributes` keeps every other column of the source, as text. `unstated` are findings that nobody looked for on this
    film: neither present nor absent.

    Examples:
        >>> Record("films/7.png", ("normal",), patient_id="ann").group
        'ann'
    """

    path: str
    findings: tuple[str, ...]
    patient_id: str | None = None
    group_id: str | None = None
    source: str | None = None
    view: str | None = None
    split: str | None = None
    mask_path: str | None = None
    age_years: float | None = None
    sex: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
    unstated: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.path, PurePath):
            object.__setattr__(self, "path", self.path.as_posix())
        if isinstance(self.mask_path, PurePath):
            object.__setattr__(self, "mask_path", self.mask_path.as_posix())

    @property
    def finding(self) -> str:
        """The one finding of a single-label film.

        Raises:
            ValueError: the film has none or several.
        """
        if len(self.findings) != 1:
            raise ValueError(
                f"{self.path} has the findings {list(self.findings)}; "
                "a single-label film was expected; choose findings (--findings)"
            )
        return self.findings[0]

    @property
    def group(self) -> str:
        """What splits and episodes keep together: the group, else the patient, else the film itself."""
        return self.group_id or self.patient_id or self.path


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that a reader or a decoder left out: its row in the source (1-based, None for a file), path, reason, kind.

    The kinds: "missing" (no such file), "unreadable" (empty or damaged), "duplicate" (an earlier row names the same
    file), "split_conflict" (so it does, and the rows name other splits; `clash` is one that the film has not),
    "finding_conflict" and "patient_conflict" (its rows name other findings, or patients; `clash` is this row's
    findings), "other".
    """

    row: int | None
    path: str
    reason: str
    kind: str = "other"
    clash: str = ""


def count_reasons(problems: Iterable[Problem]) -> list[str]:
    """Return the five commonest reasons, each with its number of rows and the first of them; then how many are more."""
    alike: dict[str, list[Problem]] = {}
    for problem in problems:
        alike.setdefault(problem.reason, []).append(problem)
    ranked = sorted(alike.values(), key=len, reverse=True)
    told = [f"{_first(same[0], len(same))}: {same[0].reason}" for same in ranked[:_MOST_REASONS]]
    n_more = sum(map(len, ranked[_MOST_REASONS:]))
    return told + [f"{n_more:,} more, for other reasons"] * (n_more > 0)


def _first(problem: Problem, n_alike: int) -> str:
    place = problem.path if problem.row is None else f"{problem.path} (row {problem.row})"
    n_rows = f"{n_alike} {'files' if problem.row is None else 'rows'}"
    return place if n_alike == 1 else f"{n_rows}, the first {place}"


@dataclass(frozen=True)
class Records(Sequence[Record]):
    """An immutable sequence of films below one `root`, with what was left out and what was assumed.

    `n_rows` is how many rows the source has, with those that were left out or not asked for (None: it has no table).

    Examples:
        >>> films = Records((Record("1.png", ("normal",)), Record("2.png", ("covid19", "effusion"))), root="films")
        >>> films.findings, len(films.where(lambda film: "normal" in film.findings))
        (('covid19', 'effusion', 'normal'), 1)
    """

    films: tuple[Record, ...]
    root: Path
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    n_rows: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))

    def __repr__(self) -> str:
        return facts_text("Records", self._facts())

    def _repr_html_(self) -> str:
        head, key = ("split", _split) if any(map(_split, self.films)) else ("source", _source)
        pairs = ((name, key(film) or "not stated") for film in self.films for name in film.findings)
        return html_table(self._facts(), caption="Records") + cross_picture(pairs, ("finding", head))

    def _facts(self) -> list[tuple[str, str]]:
        """Return (name, text) pairs that say in short what these are."""
        known = [film.group for film in self.films if film.patient_id or film.group_id]
        n_unknown = len(self.films) - len(known)
        facts = {"films": f"{len(self):,}", "findings": counts_text(self.count_findings()) or "none"}
        facts["patients"] = f"{len(set(known)):,}" if known else "unknown"
        if known and n_unknown:
            facts["patients"] += f" (unknown for {n_unknown:,} of {len(self):,} films)"
        for name, key in (("sources", _source), ("splits", _split)):
            if any(map(key, self.films)):
                facts[name] = counts_text(self.count_by(key))
        if self.problems:
            facts["left out"] = f"{len(self.problems):,}"
        return [*facts.items(), ("root", str(self.root))]

    def __len__(self) -> int:
        return len(self.films)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.films)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> "Records": ...
    def __getitem__(self, index: int | slice) -> "Record | Records":
        return replace(self, films=self.films[index]) if isinstance(index, slice) else self.films[index]

    @property
    def findings(self) -> tuple[str, ...]:
        """Every finding that occurs, sorted: the class list."""
        return tuple(sorted({name for film in self.films for name in film.findings}))

    @property
    def data_hash(self) -> str:
        """SHA-256 (hex) over what decides of every film; the order of rows does not matter.

        That is path, findings, group and split, and the unstated findings of a film that has such.
        """
        rows = sorted("\0".join(_decisive(film)) for film in self.films)
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def file(self, film: Record) -> Path:
        """Return where the film lies.

        Raises:
            ValueError: its path leaves the root, by `..`, as an absolute path or through a link.
        """
        return resolve_below(self.root, film.path)

    def where(self, keep: Callable[[Record], bool]) -> "Records":
        """Return the films for which `keep` is true; root, problems and notes travel along."""
        return replace(self, films=tuple(film for film in self.films if keep(film)))

    def each(self, change: Callable[[Record], Record]) -> "Records":
        """Return every film as `change` makes it; root, problems and notes travel along."""
        return replace(self, films=tuple(change(film) for film in self.films))

    def take(self, rows: Iterable[int]) -> "Records":
        """Return the films at these positions, in this order."""
        return replace(self, films=tuple(self.films[row] for row in rows))

    def of_split(self, split: str) -> "Records":
        """Return the films of one split.

        Raises:
            ValueError: no film belongs to it.
        """
        found = self.where(lambda film: film.split == split)
        if not found:
            have = ", ".join(sorted({film.split for film in self.films if film.split}))
            way_out = f"there are {have}" if have else "no split is set: run `fscxr data split`"
            raise ValueError(f"no film has the split {split!r}; {way_out}")
        return found

    def with_problems(self, problems: Iterable[Problem]) -> "Records":
        """Return the same films with more problems noted, and without the films these problems name."""
        problems = tuple(problems)
        bad = {problem.path for problem in problems}
        kept = tuple(film for film in self.films if film.path not in bad)
        return replace(self, films=kept, problems=self.problems + problems)

    def count_findings(self) -> dict[str, int]:
        """Count films by finding, sorted by its name; a film of two findings counts under both."""
        return dict(sorted(Counter(name for film in self.films for name in film.findings).items()))

    def count_by(self, key: Callable[[Record], str | None]) -> dict[str, int]:
        """Count films by a column, sorted by its value; films without one count under 'not stated'."""
        counts = Counter(key(film) or "not stated" for film in self.films)
        return dict(sorted(counts.items()))

    @classmethod
    def from_dataframe(cls, frame: Any, *, root: str | Path = ".", **options: Any) -> "Records":
        """Read the films of a data frame, as `read_dataset("manifest", ...)` reads those of a CSV.

        Args:
            frame: of pandas or polars, with a row for each film. Columns are found by their names.
            root: folder that the paths start from.
            options: path_column, label_column, group_column, patient_column, patient_pattern, path_suffix, rows,
                allow_leak: those of the reader `manifest`. A misspelt one is Python's own TypeError.

        Raises:
            TypeError: it is no data frame.
            ValueError: no such column, a path that leaves the root, or a patient in two splits.
            FileNotFoundError: no readable row.
        """
        from fewshot_cxr.data.readers.data_frame import read_dataframe

        return read_dataframe(frame, root=root, **options)

    def to_dataframe(self) -> Any:
        """Return a pandas.DataFrame with a row for each film, as a manifest has it; what is unknown is missing.

        The columns: path, label (several findings joined by "|"), patient_id, group_id, source, view, split, mask_path,
        age_years, sex, unstated where a film has such, and each attribute. Problems and notes are not among them.

        Raises:
            ModuleNotFoundError: pandas is not installed.
            ValueError: the name of a finding holds "|".
        """
        try:
            import pandas  # type: ignore[import-untyped]  # its types are a package of their own
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "to_dataframe needs pandas, which is not installed: pip install pandas"
            ) from error
        own = [*TABLE_COLUMNS, *(["unstated"] if any(film.unstated for film in self.films) else [])]
        extra = dict.fromkeys(name for film in self.films for name in film.attributes)
        named = {name: name if name not in own else f"{name} (2)" for name in extra}
        rows = [
            [*(_cell(film, name) for name in own), *(film.attributes.get(name) for name in extra)]
            for film in self.films
        ]
        return pandas.DataFrame(rows, columns=[*own, *named.values()], dtype=object).astype({"age_years": float})


def _cell(film: Record, column: str) -> str | float | None:
    if column not in ("label", "unstated"):
        value: str | float | None = getattr(film, column)
        return value
    names = film.findings if column == "label" else film.unstated
    if bad := next((name for name in names if "|" in name), None):
        raise ValueError(f"{film.path}: a table cannot hold the finding {bad!r}, since | separates findings; rename it")
    return "|".join(names)


def _decisive(film: Record) -> tuple[str, ...]:
    decisive = (film.path, "|".join(film.findings), film.group, film.split or "")
    return (*decisive, "|".join(film.unstated)) if film.unstated else decisive


def resolve_below(root: Path, path: str) -> Path:
    """Join `root` and `path`, follow links, and insist that the result lies below the root.

    Raises:
        ValueError: it does not.
        FileNotFoundError: its links lead in a circle.
    """
    real_root = root.resolve()
    try:
        target = (real_root / path).resolve()
    except (OSError, RuntimeError) as error:  # a loop of links: RuntimeError before Python 3.13
        raise FileNotFoundError(f"{path}: its links lead in a circle") from error
    if not target.is_relative_to(real_root):
        raise ValueError(f"{path} leaves the data root {root}; move the file below it or name another root (--root)")
    return target
