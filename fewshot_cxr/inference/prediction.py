"""What is nearest to a film, and which exemplars say so: values, for people and for JSON."""

from dataclasses import dataclass
from typing import Any

from fewshot_cxr._html import facts_text, html_table, short_name

_MOST_DISTANCES = 6  # that a line shows


@dataclass(frozen=True)
class Exemplar:
    """One labelled film that a prediction was compared with.

    Examples:
        >>> Exemplar("normal/17.png", "normal", 3.0)
        Exemplar(path='normal/17.png', finding='normal', distance=3.0)
    """

    path: str
    finding: str
    distance: float


@dataclass(frozen=True)
class Prediction:
    """What is nearest to one film.

    `findings` holds one name, or several that are tied for the smallest distance. `distances` gives the rule's value
    for every finding (smaller is closer, in the unit of the embedding; not a probability). `exemplars` are the
    nearest, closest first; where none of them is of the answered finding, its nearest one stands last, so that what
    decided can be looked at. `notes` says what was left out and why.

    Examples:
        >>> nearest = Exemplar("normal/17.png", "normal", 3.0)
        >>> Prediction("new.png", ("normal",), {"normal": 3.0, "covid19": 4.0}, (nearest,))
        Prediction(film: new.png; finding: normal; distances: normal 3, covid19 4; exemplars: 1)
    """

    path: str
    findings: tuple[str, ...]
    distances: dict[str, float]
    exemplars: tuple[Exemplar, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return facts_text("Prediction", self._facts())

    def _repr_html_(self) -> str:
        rows = [(one.path, one.finding, f"{one.distance:.4g}") for one in self.exemplars]
        nearest = html_table(rows, head=("exemplar", "finding", "distance"), caption="Nearest first")
        return html_table(self._facts(), caption="Prediction") + nearest

    def _facts(self) -> list[tuple[str, str]]:
        ranked = sorted(self.distances.items(), key=lambda one: one[1])
        told = [f"{short_name(name)} {distance:.4g}" for name, distance in ranked[:_MOST_DISTANCES]]
        told += [f"and {len(ranked) - len(told):,} more"] * (len(ranked) > len(told))
        facts = [("film", self.path), ("finding", " or ".join(self.findings)), ("distances", ", ".join(told))]
        return [*facts, ("exemplars", f"{len(self.exemplars):,}"), *(("note", note) for note in self.notes)]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "path": self.path,
            "findings": list(self.findings),
            "distances": self.distances,
            "exemplars": [exemplar.__dict__ for exemplar in self.exemplars],
            "notes": list(self.notes),
        }
