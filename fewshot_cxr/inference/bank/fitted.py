"""What a bank learns about its own answers: probabilities, sets and the distance that is too far."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from torch import Tensor

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.inference.bank.abstaining import USUAL_RATE, Thresholds
from fewshot_cxr.inference.bank.answering import Grounds
from fewshot_cxr.inference.bank.asked_points import AskedPoint, carried_points, gone_words, made_points, point_words
from fewshot_cxr.inference.bank.calibrating import calibrate_on_films, calibrate_on_support, check_patients_apart
from fewshot_cxr.inference.bank.calibration import Calibration
from fewshot_cxr.inference.bank.comparing import comparing_by, conformal_of
from fewshot_cxr.inference.bank.coverage import check_level
from fewshot_cxr.inference.bank.exemplar_table import ExemplarTable
from fewshot_cxr.inference.bank.neighbourhood import Neighbourhood
from fewshot_cxr.inference.bank.operating_points import OperatingPoint
from fewshot_cxr.inference.bank.patient_shares import CalledPatients, called_patients
from fewshot_cxr.inference.bank.terms import BankTerms
from fewshot_cxr.inference.deciding import Decider
from fewshot_cxr.metrics import margins

USUAL_LEVEL = 0.9


class Exemplars:
    """The exemplars of a bank with what decides by them; each part is made when it is asked for.

    Args:
        table: the exemplars.
        terms: how they decide.
        index: how the nearest of many are found.
    """

    def __init__(self, table: ExemplarTable, terms: BankTerms, *, index: str = "auto") -> None:
        self.table, self.terms, self._index = table, terms, index

    @cached_property
    def embeddings(self) -> Embeddings:
        """As rules and evaluation take them."""
        return self.table.embeddings

    @cached_property
    def decider(self) -> Decider:
        """The rule on them."""
        how = {"rule": self.terms.rule, "distance": self.terms.distance, "options": self.terms.options}
        return Decider(self.embeddings, index=self._index, **how)  # type: ignore[arg-type]  # of their own types

    @cached_property
    def neighbourhood(self) -> Neighbourhood | None:
        """How close they lie; None: they are of fewer than three patients."""
        try:
            return Neighbourhood(self.table.features, self.table.people)
        except ValueError:
            return None

    @property
    def are_films(self) -> bool:
        """Whether most look like frontal films of the chest; pixels tell nothing of pictures of something else."""
        return float(self.table.is_frontal.mean()) > 0.5


@dataclass(frozen=True)
class Fitted:
    """What a bank knows of its own answers.

    Args:
        calibration: what makes probabilities and sets; None: nothing does.
        is_stale: exemplars changed since films kept apart calibrated it, so that no probability holds.
        thresholds: from where on a film is none of the findings; None: too few patients set one.
        why_not: why there is no calibration, or which operating points are gone, and why.
        called: of each finding, how many calibration patients of each finding the nearest one would be.
        points: from which margin on a film is called a finding, for a stated sensitivity or specificity.
        level: the share of sets that are to hold the true finding.
        rate: the share of patients with a known finding who may be called unknown.
    """

    calibration: Calibration | None = None
    is_stale: bool = False
    thresholds: Thresholds | None = None
    why_not: str = ""
    called: tuple[CalledPatients, ...] = ()
    points: tuple[OperatingPoint, ...] = ()
    level: float = USUAL_LEVEL
    rate: float = USUAL_RATE

    def __post_init__(self) -> None:
        check_level(self.level)
        check_level(self.rate, "false_reject_rate")

    def on_exemplars(self, exemplars: Exemplars, asked: Sequence[AskedPoint] | None = None) -> "Fitted":
        """Return what the exemplars themselves allow, each patient asked of the others; see `calibrate_on_support`.

        Args:
            exemplars: of the bank.
            asked: operating points; None: those that there are, made anew as far as patients carry them.

        Raises:
            ValueError: they calibrate nothing, or have too few patients for an operating point that is asked.
        """
        exemplars.terms.refuse_trained(exemplars.table, "exemplars")
        made = calibrate_on_support(exemplars.decider, level=self.level, chosen_by=exemplars.terms.choice)
        rows, distances = exemplars.decider.left_out()
        if not len(rows):
            raise ValueError("each finding has one patient, who cannot be asked of others: add exemplars of more")
        known = exemplars.embeddings.take(rows)
        return self._made(made, exemplars, self._limits(exemplars), known, distances, asked=asked)

    def on_films(
        self, exemplars: Exemplars, films: ExemplarTable, asked: Sequence[AskedPoint] | None = None
    ) -> "Fitted":
        """Return what films kept apart allow; see `calibrate_on_films`.

        Args:
            exemplars: of other patients.
            films: that the encoder was not trained on.
            asked: operating points; None: those that there are, made anew as far as patients carry them.

        Raises:
            ValueError: a film that it was trained on, a patient who has exemplars, too, or too few patients for an
                operating point that is asked.
        """
        exemplars.terms.refuse_trained(films, "films to calibrate on")
        for column in ("patients", "groups", "digests"):
            check_patients_apart(getattr(exemplars.table, column), getattr(films, column))
        made = calibrate_on_films(exemplars.decider, films.embeddings, level=self.level)
        distances = exemplars.decider.distances(films.vectors)
        limits, known = self._limits(exemplars, films), films.embeddings
        return self._made(made, exemplars, limits, known, distances, asked=asked)

    def _made(
        self,
        calibration: Calibration,
        exemplars: Exemplars,
        thresholds: Thresholds | None,
        films: Embeddings,
        distances: Tensor,
        *,
        asked: Sequence[AskedPoint] | None,
    ) -> "Fitted":
        findings = exemplars.decider.findings
        truth = [findings.index(films.class_names[index]) for index in films.class_ids.tolist()]
        facts = (truth, films.patient_ids)
        nearest, scores = distances.argmin(dim=1).numpy(), margins(distances).numpy()
        called = [
            called_patients(nearest == column, *facts, finding=name, findings=findings)
            for column, name in enumerate(findings)
            if len(truth)
        ]
        if asked is None:
            points, gone = carried_points(self.points, scores, *facts, findings=findings)
        else:
            points, gone = made_points(asked, scores, *facts, findings=findings), ()
        made = {"calibration": calibration, "thresholds": thresholds, "called": tuple(called), "points": points}
        return replace(self, **made, is_stale=False, why_not="\n".join(gone))  # type: ignore[arg-type]  # of their own types

    def after_change(self, exemplars: Exemplars) -> "Fitted":
        """Return what holds of other exemplars: nothing that films kept apart told, until these are asked again."""
        if self.calibration is not None and self.calibration.basis == "films":
            return replace(self, is_stale=True, thresholds=self._limits(exemplars))
        try:
            return self.on_exemplars(exemplars)
        except ValueError as error:
            gone = (gone_words(point, "nothing is calibrated") for point in self.points)
            why_not, limits = "\n".join((str(error), *gone)), self._limits(exemplars)
            return replace(self, calibration=None, thresholds=limits, why_not=why_not, called=(), points=())

    def grounds(self, exemplars: Exemplars) -> Grounds:
        """Return what a bank of these exemplars answers on."""
        calibration = None if self.is_stale else self.calibration
        near = exemplars.neighbourhood
        return Grounds(
            exemplars.decider.findings,
            comparing_by(exemplars.decider),
            partial(conformal_of, exemplars.decider),
            calibration,
            near,
            self.thresholds,
            looks_at_pixels=exemplars.are_films,
            called=() if self.is_stale else self.called,
            points=() if self.is_stale else self.points,
        )

    def words(self) -> list[tuple[str, str]]:
        """Return what is promised, in words."""
        if self.calibration is None:
            told = f"none: {self.why_not}"
        elif self.is_stale:
            told = "stale, since exemplars changed: calibrate again on films kept apart"
        else:
            told = f"on {self.calibration.basis}, {self.calibration.date}\n{self.calibration.promise()}"
            told += f"\n{self.why_not}" if self.why_not else ""
        lines = [("calibration", told), *point_words(() if self.is_stale else self.points)]
        if self.thresholds is None:
            return [*lines, ("unknown", "never said: exemplars of more patients, or films kept apart, set a threshold")]
        low, high = self.thresholds.achieved.ci95_patients or (float("nan"), float("nan"))
        told = f"at most {self.rate:.0%} of patients with a known finding are to be turned away; "
        told += f"{self.thresholds.achieved.value:.0%} were ({low:.0%} to {high:.0%})"
        caution = self.thresholds.caution
        return [*lines, ("unknown", told if caution is None else f"{told}; {caution}")]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        parts = {"calibration": self.calibration, "thresholds": self.thresholds}
        plain = {name: None if part is None else part.to_json() for name, part in parts.items()}
        plain |= {name: getattr(self, name) for name in ("is_stale", "why_not", "level", "rate")}
        return plain | {name: [one.to_json() for one in getattr(self, name)] for name in ("called", "points")}

    @classmethod
    def from_json(cls, value: Any) -> "Fitted":
        """Rebuild from `to_json`.

        Raises:
            ValueError: a part is none.
        """
        calibration = None if value["calibration"] is None else Calibration.from_json(value["calibration"])
        thresholds = None if value["thresholds"] is None else Thresholds.from_json(value["thresholds"])
        called = tuple(CalledPatients.from_json(one) for one in value["called"])
        points = tuple(OperatingPoint.from_json(one) for one in value["points"])
        told = {name: value[name] for name in ("is_stale", "why_not", "level", "rate")}
        return cls(calibration=calibration, thresholds=thresholds, called=called, points=points, **told)

    def _limits(self, exemplars: Exemplars, films: ExemplarTable | None = None) -> Thresholds | None:
        near, rate = exemplars.neighbourhood, self.rate
        if near is None:
            return None
        try:
            if films is not None:
                return Thresholds.of(near.distances(films.features), films.people, k=near.k, false_reject_rate=rate)
            is_told = exemplars.terms.features_are_frozen(exemplars.table)
            return Thresholds.fit(near, false_reject_rate=rate) if is_told else None
        except ValueError:  # copies of each other tell no distance
            return None
