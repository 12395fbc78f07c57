"""The audit's result value: frozen, made of plain values; table, page and JSON show it and never recompute."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fewshot_cxr._checks import lookup
from fewshot_cxr._html import facts_text, html_table
from fewshot_cxr.evaluation.plain_values import read_plain, to_plain
from fewshot_cxr.evaluation.shown import audit_facts
from fewshot_cxr.metrics import Estimate

# Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988, section 7.2: from here on an effect is large.
STRONG_V = 0.5
# How far above chance a classifier that sees nothing of the lungs must surely be before a study is called confounded.
CLEAR_MARGIN = 0.1
_TRIVIAL = ("source", "size", "border")  # what a finding is guessed from, and what it is not to follow from


@dataclass(frozen=True)
class NearDuplicate:
    """Two films that show the same exposure; of exact copies each is paired with the first.

    `hamming` counts differing bits of the hashes, `correlation` is that of the registered pixels. `same_patient` is
    None where a patient is not stated.
    """

    a: str
    b: str
    hamming: int
    correlation: float
    same_patient: bool | None
    same_label: bool


@dataclass(frozen=True)
class ExactDuplicates:
    """Films that are copies of each other, `by` "bytes" or "pixels" (other files, the same decoded film)."""

    paths: tuple[str, ...]
    by: str
    same_patient: bool | None
    same_label: bool


@dataclass(frozen=True)
class ContradictoryPatient:
    """A patient whose films carry findings that exclude each other."""

    patient: str
    findings: tuple[str, ...]
    n_films: int
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Leak:
    """What lies in several splits.

    `by` is "row" (two rows name one file with two splits), "patient", "group", "exact_duplicate", "near_duplicate",
    "possible_duplicate" or "chain" (several of these join the films); `name` is the row's, the patient's or the
    group's, None for the others.
    """

    by: str
    name: str | None
    splits: tuple[str, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Measure:
    """One number, or why it cannot be assessed (then its mean is None, never 0).

    `chance` is what no information would give. `corrected` is Cramer's V without what chance alone gives. The interval
    is over resampled groups of patients, widened because the folds of a cross-validation share films. `findings` are
    those that took part.
    """

    number: Estimate
    corrected: float | None = None
    chance: float | None = None
    n_films: int = 0
    n_groups: int = 0
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def impossible(cls, reason: str) -> "Measure":
        """Return a measure that says "cannot be assessed" and why."""
        return cls(Estimate(None, reason=f"cannot be assessed: {reason}"))

    @property
    def is_clearly_above_chance(self) -> bool:
        """Whether the whole interval lies more than CLEAR_MARGIN above chance."""
        ci95 = self.number.ci95
        return ci95 is not None and self.chance is not None and ci95[0] > self.chance + CLEAR_MARGIN

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        number = self.number
        plain: dict[str, Any] = {"assessed": number.mean is not None, "reason": number.reason, "value": number.mean}
        plain |= {"corrected": self.corrected, "chance": self.chance, "ci95": number.ci95}
        return plain | {name: value for name, value in vars(self).items() if name != "number" and name not in plain}

    @classmethod
    def arranged(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the parts of `to_json` by field."""
        names = {"mean": "value", "ci95_patients": "ci95", "reason": "reason"}
        number = {name: value[key] for name, key in names.items() if key in value}
        return {**value, "number": {"ci95_episodes": None, **number}}


@dataclass(frozen=True)
class Confounding:
    """How well the finding follows from what is no sign of it.

    `by_source` counts films by finding and source. `balanced_accuracy` has one entry for each thing that a trivial
    classifier sees: "source", "size", "border", "thumbnail". The thumbnail holds the chest itself, so a value above
    chance there is no fault by itself: it is the baseline that a model has to beat.
    """

    cramers_v: Measure
    by_source: dict[str, dict[str, int]]
    balanced_accuracy: dict[str, Measure]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EmbeddingAudit:
    """What an encoder's embedding tells of films, cross-validated by patient: of `assess_embedding`.

    `first_line` says whether disease and hospital can be told apart at all. `tells`: "finding", "source", "view",
    "age", "sex"; `within`: the source among films of a finding that has two. `n_training_films` were left out.
    `encoder` is what the encoder is called.
    """

    first_line: str
    tells: dict[str, Measure]
    within: dict[str, Measure]
    n_films: int
    n_training_films: int = 0
    notes: tuple[str, ...] = ()
    encoder: str = ""


@dataclass(frozen=True)
class Views:
    """Films by finding and view, and how strongly the two go together."""

    by_finding: dict[str, dict[str, int]]
    cramers_v: Measure


@dataclass(frozen=True)
class Children:
    """Films of children (below 18 years) and of adults by finding, where ages are stated."""

    assessed: bool
    reason: str | None = None
    n_children: int = 0
    n_adults: int = 0
    n_unknown: int = 0
    by_finding: dict[str, dict[str, int]] | None = None

    @property
    def is_mostly_unknown(self) -> bool:
        """Whether more films are without an age than with one."""
        return self.n_unknown > self.n_children + self.n_adults


@dataclass(frozen=True)
class UnreadableFilm:
    """A film that could not be decoded, or that the reader found missing or empty."""

    path: str
    reason: str


@dataclass(frozen=True)
class Films:
    """Counts, and what is wrong with single films.

    A film of several findings counts under each. `sizes` holds {minimum, median, maximum} of "width_px", "height_px"
    and "aspect_ratio" (width by height), empty when no film is readable. `marks` lists the films of every mark. A film
    that names neither a patient nor a group counts in `n_films_without_patient`.
    """

    n_films: int
    n_patients: int
    by_finding: dict[str, int]
    by_source: dict[str, int]
    by_view: dict[str, int]
    by_split: dict[str, int]
    sizes: dict[str, dict[str, float]]
    unreadable: tuple[UnreadableFilm, ...]
    marks: dict[str, tuple[str, ...]]
    views: Views
    children: Children
    n_films_without_patient: int = 0


@dataclass(frozen=True)
class Audit:
    """What `audit_films` found. All paths are relative to the root of the films.

    `near_duplicates` are copies that were saved anew: resized, compressed, lightened. `possible_duplicates` correlate
    as highly once one is moved onto the other: re-cropped, with marks drawn in, or (rarely) taken a moment apart.
    """

    near_duplicates: tuple[NearDuplicate, ...]
    possible_duplicates: tuple[NearDuplicate, ...]
    exact_duplicates: tuple[ExactDuplicates, ...]
    contradictory_patients: tuple[ContradictoryPatient, ...]
    leaks: tuple[Leak, ...]
    confounding: Confounding
    films: Films
    data_hash: str
    version: str
    seed: int
    seconds: float
    notes: tuple[str, ...] = ()
    embedding: EmbeddingAudit | None = None

    def __repr__(self) -> str:
        return facts_text("Audit", audit_facts(self))

    def _repr_html_(self) -> str:
        return html_table(audit_facts(self), caption="Audit")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` rebuilds an equal audit."""
        parts = {name: value for name, value in vars(self).items() if name != "embedding" or value is not None}
        plain: dict[str, Any] = to_plain(parts)
        return plain

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Audit":
        """Rebuild from `to_json`.

        Raises:
            ValueError: a part is missing, or is not what an audit writes; it is named.
        """
        try:
            made: Audit = read_plain(cls, value)
            for name in _TRIVIAL:
                if name not in made.confounding.balanced_accuracy:
                    raise ValueError(f"confounding.balanced_accuracy.{name} is missing")
            if made.embedding is not None and "source" not in made.embedding.tells:
                raise ValueError("embedding.tells.source is missing")
        except ValueError as error:
            raise ValueError(f"this is no whole audit: {error}; `fscxr data audit --json FILE` writes one") from error
        return made

    def failed(self, checks: Iterable[str] | None = None) -> tuple[str, ...]:
        """Return which of these checks (names in CHECKS; None: all) found something, in this order.

        Raises:
            ValueError: there is no check of that name.
        """
        names = list(CHECKS if checks is None else checks)
        table = {name: lookup(CHECKS, name, what="check") for name in names}
        return tuple(name for name, has_hits in table.items() if has_hits(self))

    def unassessed(self, checks: Iterable[str] | None = None) -> tuple[str, ...]:
        """Return which of these checks (None: all) films of unknown patients keep from being assessed as a whole."""
        is_split = len(set(self.films.by_split) - {"not stated"}) > 1
        by_patient = {"leak": is_split, "contradictory": True} if self.films.n_films_without_patient else {}
        return tuple(name for name in (CHECKS if checks is None else checks) if by_patient.get(name))


def _is_confounded(audit: Audit) -> bool:
    accuracy = audit.confounding.balanced_accuracy
    by_v = (audit.confounding.cramers_v.corrected or 0) >= STRONG_V
    return by_v or any(accuracy[name].is_clearly_above_chance for name in _TRIVIAL)


def _has_mark(mark: str) -> Callable[[Audit], bool]:
    return lambda audit: bool(audit.films.marks.get(mark))


# What cannot be assessed has no hits, and the table says why; of unknown patients a gate asks `Audit.unassessed`, too.
CHECKS: dict[str, Callable[[Audit], bool]] = {
    "leak": lambda audit: bool(audit.leaks),
    "duplicates": lambda audit: bool(audit.exact_duplicates or audit.near_duplicates),
    "exact_duplicates": lambda audit: bool(audit.exact_duplicates),
    "near_duplicates": lambda audit: bool(audit.near_duplicates),
    "possible_duplicates": lambda audit: bool(audit.possible_duplicates),
    "contradictory": lambda audit: bool(audit.contradictory_patients),
    "confounding": _is_confounded,
    "views": lambda audit: (audit.films.views.cramers_v.corrected or 0) >= STRONG_V,
    "children": lambda audit: bool(audit.films.children.n_children and audit.films.children.n_adults),
    "unreadable": lambda audit: bool(audit.films.unreadable),
    "constant": _has_mark("constant"),
    "nearly_empty": _has_mark("nearly_empty"),
    "inverted": _has_mark("inverted"),
    "burnt_in_text": _has_mark("burnt_in_text"),
}
