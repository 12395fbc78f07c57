"""The learning curve's value: frozen, made of plain numbers; table, figure, CSV and JSON show it, never recompute."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fewshot_cxr._html import facts_text, html_table
from fewshot_cxr.evaluation.plain_values import read_plain, to_plain
from fewshot_cxr.evaluation.shown import Facts, estimate_text, names_text
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.unknown_patients import films_text, over_patients

LEARNING_CURVE = "learning_curve"
_COMMAND = "`fscxr learning-curve --json FILE` writes one"


@dataclass(frozen=True)
class CurvePoint:
    """What was found at one number of shots: accuracy, and the recall of each finding."""

    n_shot: int
    accuracy: Estimate
    recalls: dict[str, Estimate]
    episodes_hash: str


@dataclass(frozen=True)
class LeftOut:
    """A number of shots that could not be measured, and why."""

    n_shot: int
    reason: str


@dataclass(frozen=True)
class Forecast:
    """What more films would bring: `number` ("accuracy", or "recall of" a new finding) at `n_shot` films a finding.

    `gain` is above the largest shot that was measured. A mean that is None has a reason: the films do not carry it.

    Examples:
        >>> ahead = Forecast("recall of covid19", 20, Estimate(0.875), Estimate(0.125))
        >>> ahead.value.mean - ahead.gain.mean  # what was measured
        0.75
    """

    number: str
    n_shot: int
    value: Estimate
    gain: Estimate


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """How many labelled films are enough: accuracy and recalls against shots, on nested draws. All shares are 0..1.

    Args:
        points: what was measured, by rising shots; their episodes ask the same queries, and the support of each is part
            of the next one's.
        left_out: shots that the patients do not allow.
        forecasts: of more films than were measured.
        findings: that have films.
        novel: findings that the encoder was not trained on, as far as is known.
        n_support_films: how many films may be support.
        n_films: that may be support or query, as `n_patients` counts them.
        rule: by which support decides.
        distance: that it measures by.
        data_hash: of the films.

    Examples:
        >>> from fewshot_cxr import Embeddings
        >>> from fewshot_cxr.evaluation import measure_learning_curve
        >>> films = Embeddings([[n % 2, 0.01 * n] for n in range(12)], ["normal", "covid19"] * 6)
        >>> options = {"n_query": 2, "n_episodes": 10, "n_patient_episodes": 100, "progress": None}
        >>> curve = measure_learning_curve(films, shots=(1, 2), **options)
        >>> LearningCurve.from_json(curve.to_json()) == curve
        True
    """

    points: tuple[CurvePoint, ...]
    left_out: tuple[LeftOut, ...]
    forecasts: tuple[Forecast, ...]
    findings: tuple[str, ...]
    novel: tuple[str, ...]
    rule: str
    distance: str
    n_way: int
    n_query: int
    n_episodes: int
    n_films: int
    n_support_films: int
    n_query_films: int
    n_patients: int
    n_films_without_patient: int
    seed: int
    seconds: float
    data_hash: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return facts_text("LearningCurve", self._facts())

    def _repr_html_(self) -> str:
        return html_table(self._facts(), caption="Learning curve")

    def _facts(self) -> Facts:
        over = self.interval_over
        facts = [(f"accuracy, {one.n_shot}-shot", estimate_text(one.accuracy, over)) for one in self.points]
        facts += [
            (f"{one.number}, {one.n_shot}-shot, forecast", estimate_text(one.value, over))
            for one in self.forecasts[-1:]
        ]
        facts.append(("rule", f"{self.rule} ({self.distance})"))
        facts.append(("films", films_text(self.n_films, self.n_patients, self.n_films_without_patient)))
        return [*facts, ("findings", names_text(self.findings)), *(("warning", text) for text in self.warnings)]

    @property
    def interval_over(self) -> str:
        """What the intervals are over, in words: patients, as far as they are known, or films."""
        return over_patients(self.n_films_without_patient, self.n_films)

    def numbers(self) -> Iterator[tuple[str, str, int, Estimate, bool]]:
        """Yield (number, finding or '', shots, estimate, whether it is a forecast)."""
        for point in self.points:
            yield "accuracy", "", point.n_shot, point.accuracy, False
            for finding, one in point.recalls.items():
                yield "recall", finding, point.n_shot, one, False
        for ahead in self.forecasts:
            name, _, finding = ahead.number.partition(" of ")
            yield name, finding, ahead.n_shot, ahead.value, True

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` rebuilds an equal curve."""
        plain: dict[str, Any] = to_plain(vars(self))
        return {"kind": LEARNING_CURVE} | plain

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "LearningCurve":
        """Rebuild from `to_json`.

        Raises:
            ValueError: it is of another kind, a part is missing, or is not what a learning curve holds; it is named.
        """
        kind = value.get("kind") if isinstance(value, Mapping) else None
        if kind != LEARNING_CURVE:
            raise ValueError(f"this is no learning curve (kind {str(kind)[:40]!r}); {_COMMAND}")
        try:
            made: LearningCurve = read_plain(cls, value)
            made._check_whole()
        except ValueError as error:
            raise ValueError(f"this learning curve is not whole: {error}; {_COMMAND}") from error
        return made

    def _check_whole(self) -> None:
        shots = [point.n_shot for point in self.points]
        if not shots or shots != sorted(set(shots)):
            raise ValueError(f"points must be of rising shots, got {shots}")
        for number, finding, n_shot, one, _ in self.numbers():
            if one.mean is not None and not 0 <= one.mean <= 1:
                raise ValueError(f"{number} {finding} at {n_shot} shots is {one.mean}, a proportion 0..1 was expected")
