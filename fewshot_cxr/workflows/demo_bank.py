"""The end of the demo: a support bank of the known findings is given films of the new one, and answers or abstains."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_cxr._progress import Bar
from fewshot_cxr.data import patient_groups, read_gray
from fewshot_cxr.inference import Prediction
from fewshot_cxr.inference.bank import Answer, SupportBank
from fewshot_cxr.metrics import Estimate, bounded_interval
from fewshot_cxr.records import Records
from fewshot_cxr.report import Section, prediction_section
from fewshot_cxr.report.tables import Table, interval_text, value_text

_BATCH = 64


@dataclass(frozen=True, eq=False)
class BankStory:
    """What a bank said of the test films.

    Args:
        counts: of the exemplars, in words.
        answers: in the order of the films.
        test: the films.
        exemplars: of the bank.
        new_finding: the one that was added.
    """

    counts: str
    answers: Sequence[Answer]
    test: Records
    exemplars: Records
    new_finding: str

    @property
    def example(self) -> int | None:
        """The first film of the new finding that the bank abstains for, else of any; None: it answers for all."""
        left = [row for row, answer in enumerate(self.answers) if answer.is_abstained]
        return min(left, key=lambda row: (self.test[row].finding != self.new_finding, row), default=None)

    def shares(self) -> dict[str, tuple[Estimate, Estimate]]:
        """Return for the new finding, and for the known ones, the share answered and what of that is right."""
        is_new = np.array([film.finding == self.new_finding for film in self.test])
        return {self.new_finding: self._shares(is_new), "known findings": self._shares(~is_new)}

    def _shares(self, among: np.ndarray) -> tuple[Estimate, Estimate]:
        patients = patient_groups(self.test)
        answered = np.array([not answer.is_abstained for answer in self.answers])
        pairs = zip(self.answers, self.test, strict=True)
        is_right = np.array([answer.answer == film.finding for answer, film in pairs])
        both = among & answered
        return _share(answered[among], patients[among]), _share(is_right[both], patients[both])

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        pairs = self.shares().items()
        told = {of: {"answered": one.to_json(), "right_among_answered": two.to_json()} for of, (one, two) in pairs}
        return {"exemplars": self.counts, "reasons": dict(self.reasons()), "shares": told}

    def reasons(self) -> Counter[str]:
        """Count the films that the bank abstains for, by reason."""
        return Counter(answer.reason for answer in self.answers if answer.is_abstained)


def ask_bank(
    run: Path, known: Records, new: Records, test: Records, *, device: str, report: Bar | None
) -> tuple[SupportBank, BankStory]:
    """Build a bank of known findings, add films of a new one, and ask it about others.

    Args:
        run: folder of the encoder.
        known: films of the known findings that nothing was fitted to: exemplars.
        new: films of the new finding, to be added.
        test: films of other patients.
        device: as for `choose_device`.
        report: called with (films asked, in all).
    """
    bank = SupportBank.build(run, known, n_exemplars=None, thumbnails=True, device=device).add(new.findings[0], new)
    answers = []
    for answer in bank.answers([test.file(film) for film in test], batch_size=_BATCH, device=device):
        answers.append(answer)
        if report is not None:
            report(len(answers), len(test))
    exemplars = Records((*known, *new), test.root)
    return bank, BankStory(dict(bank.facts())["exemplars"], answers, test, exemplars, new.findings[0])


def share_table(story: BankStory) -> Table:
    """Return which share of the films was answered, and which share of the answers is right."""
    rows = [
        (of, *(f"{value_text(one)} ({interval_text(one.ci95_patients)})" for one in pair))
        for of, pair in story.shares().items()
    ]
    return Table(("films of", "answered", "right of these"), tuple(rows), caption="In brackets: 95 % over patients.")


def bank_section(story: BankStory) -> Section:
    """Show what the bank answered, and a film for which it abstained."""
    told = ", ".join(f"{n:,} {reason}" for reason, n in story.reasons().most_common()) or "none"
    paragraphs = (
        f"A support bank answers, or says why it does not. Its exemplars: {story.counts}. The new finding's were added "
        "to it, which took no training.",
        f"Of {len(story.answers):,} test films it abstains for: {told}.",
    )
    section = Section("A support bank: answered, or abstained", paragraphs, table=share_table(story))
    if (row := story.example) is None:
        return section
    answer, film = story.answers[row], story.test[row]
    asked = Prediction(film.path, (answer.finding,), dict(answer.distances), answer.exemplars)
    images = named_films(story.exemplars, [exemplar.path for exemplar in answer.exemplars])
    shown = prediction_section(asked, read_gray(story.test.file(film)), images, true_finding=film.finding)
    why = f"Abstained for {film.path}: {answer.reason}, {answer.details}. Its label says {film.finding}."
    return replace(section, paragraphs=(*paragraphs, why), pictures=shown.pictures)


def _share(claims: np.ndarray, patients: np.ndarray) -> Estimate:
    """Return the share of films of which something is true, with an interval over patients; unknown: of no film."""
    _, codes, counts = np.unique(patients, return_inverse=True, return_counts=True)
    if len(counts) < 2:
        return Estimate(
            float(claims.mean()) if len(claims) else None, reason="films of two patients or more are needed"
        )
    mean, n = float(claims.mean()), len(counts)
    influences = np.bincount(codes, claims - mean) / len(claims)
    variance = n / (n - 1) * float(np.square(influences).sum())
    return Estimate(mean, ci95_patients=bounded_interval(mean, variance, degrees=n - 1, n_patients=n))


def named_films(records: Records, paths: Sequence[str]) -> list[np.ndarray]:
    """Read the films of these paths, in their order."""
    by_path = {film.path: film for film in records}
    return [read_gray(records.file(by_path[path])) for path in paths]
