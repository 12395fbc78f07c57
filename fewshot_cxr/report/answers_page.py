"""What a support bank says of films: a page with the films to look at, those without an answer first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fewshot_cxr.data import read_gray
from fewshot_cxr.inference.bank import Answer, SupportBank, bank_warnings
from fewshot_cxr.inference.bank.exemplar_table import ExemplarTable
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report.html import Headline, Page, Section, templates
from fewshot_cxr.report.pictures import image_bytes
from fewshot_cxr.report.tables import UNKNOWN, Table, interval_text, value_text

MOST_PICTURED = 500
"""Answers of which a page shows the films."""
_FILM_PX = 288  # twice what is shown
_MOST_FILMS = 4  # of a patient


@dataclass(frozen=True)
class AnswersShown:
    """Answers of a bank, and what was asked.

    Args:
        answers: at least those that are to be pictured: the first that abstain, and the first that do not.
        n_answers: how many there are in all.
        abstained: reason -> answers that abstain for it.
        per: what an answer is for, "film" or "patient".
        prevalence: finding -> share, as it was asked for; None: as in the calibration.
        is_forced: the bank was not allowed to abstain.
    """

    answers: Sequence[Answer]
    n_answers: int
    abstained: Mapping[str, int]
    per: str = "film"
    prevalence: Mapping[str, float] | None = None
    is_forced: bool = False

    @property
    def n_abstained(self) -> int:
        """How many answers abstain."""
        return sum(self.abstained.values())


@dataclass(frozen=True)
class ShownFilm:
    """A film of a card: its path, JPEG bytes if it can be shown, and a caption."""

    path: str
    image: bytes | None
    caption: str = ""


@dataclass(frozen=True)
class Card:
    """What a page says of one answer."""

    title: str
    answer: str
    is_abstained: bool
    films: tuple[ShownFilm, ...]
    bars: tuple[tuple[str, float], ...]
    facts: tuple[tuple[str, str], ...]
    exemplars: tuple[ShownFilm, ...]


@dataclass(frozen=True)
class AnswersPage:
    """A page, and the cards below its sections."""

    page: Page
    cards: tuple[Card, ...]
    heading: str
    said: str


def answers_page(bank: SupportBank, shown: AnswersShown) -> AnswersPage:
    """Return the page of the answers of a bank; films that are shown are decoded again.

    Args:
        bank: that gave them; its thumbnails are shown, where it keeps them.
        shown: the answers.
    """
    ranked = sorted(shown.answers, key=lambda one: not one.is_abstained)[:MOST_PICTURED]
    left_out = shown.n_answers - len(ranked)
    units = f"{shown.per}s"
    said = f"Of {shown.n_answers:,} {units} {len(ranked):,} are pictured, those without an answer first." * bool(
        left_out
    )
    rest = [(name, line) for name, text in bank.facts() for line in text.splitlines()]
    sections = (
        Section("What the answers rest on", facts=(("bank", bank.content_hash), *rest)),
        *_abstained_section(shown),
        *_prevalence_section(bank, shown),
    )
    page = Page(
        f"What the bank says of {shown.n_answers:,} {units if shown.n_answers != 1 else shown.per}",
        lead=("A network compared each film with labelled ones. What it says is no diagnosis.",),
        alarms=("The bank was not allowed to abstain (--never-abstain).",) if shown.is_forced else (),
        headlines=_headlines(shown),
        cautions=tuple(bank_warnings(bank)),
        sections=sections,
    )
    cards = tuple(_card(answer, bank.table) for answer in ranked)
    return AnswersPage(page, cards, f"The {units}, those without an answer first", said)


def render_answers(shown: AnswersPage) -> str:
    """Return the page as HTML: no network, no script, every text escaped."""
    return (
        templates()
        .get_template("answers.html")
        .render(
            page=shown.page,
            most_without_contents=len(shown.page.sections),
            cards=shown.cards,
            heading=shown.heading,
            said=shown.said,
            bars_are="Probabilities",
        )
    )


def _headlines(shown: AnswersShown) -> tuple[Headline, ...]:
    n_answered = shown.n_answers - shown.n_abstained
    return (
        Headline(f"{shown.n_answers:,}", shown.per if shown.n_answers == 1 else f"{shown.per}s"),
        Headline(f"{shown.n_abstained:,}", "without an answer"),
        Headline(f"{n_answered:,}", "answered"),
    )


def _abstained_section(shown: AnswersShown) -> tuple[Section, ...]:
    if not shown.abstained:
        return ()
    rows = tuple(
        (_in_words(reason), f"{n:,}") for reason, n in sorted(shown.abstained.items(), key=lambda one: -one[1])
    )
    return (Section("Why there is no answer", table=Table(("reason", f"{shown.per}s"), rows)),)


def _prevalence_section(bank: SupportBank, shown: AnswersShown) -> tuple[Section, ...]:
    if shown.prevalence is None:
        return ()
    there = bank.grounds.at_prevalence(shown.prevalence)
    rows = []
    for name, share in there.prevalence.items():
        worth = there.values.get(name)
        known = (UNKNOWN, UNKNOWN) if worth is None else (_estimate(worth.ppv), _estimate(worth.npv))
        rows.append((name, f"{100 * share:.3g} %", f"{100 * there.prior[name]:.3g} %", *known))
    columns = ("finding", "prevalence", "in the calibration", "PPV", "NPV")
    told = (
        "Probabilities hold at the prevalence that was stated. PPV: the share of those called a finding who have it. "
        "NPV: the share of the others who do not. With 95 % intervals over calibration patients.",
    )
    return (Section("At the stated prevalence", told, table=Table(columns, tuple(rows))),)


def _estimate(estimate: Estimate) -> str:
    return f"{value_text(estimate)}\n({interval_text(estimate.ci95_patients)})"


def _card(answer: Answer, table: ExemplarTable) -> Card:
    films = answer.films or (answer.path,)
    told = f"no answer: {_in_words(answer.reason)}" if answer.is_abstained else answer.answer
    facts = [("why", answer.details)] if answer.reason and answer.details else []
    if answer.is_abstained and answer.finding:
        facts.append(("nearest finding", answer.finding))
    if answer.fitting is not None:
        facts.append(("what fits", ", ".join(answer.fitting) or "no finding"))
    facts += [("operating point reached", ", ".join(answer.positive))] if answer.positive else []
    facts += [("note", note) for note in answer.notes]
    if len(films) > _MOST_FILMS:
        facts.append(("films", f"{len(films):,}, of which {_MOST_FILMS} are shown"))
    exemplars = [
        ShownFilm(one.path, _jpeg(table.thumbnail(one.path, one.finding)), f"{one.finding}, {one.distance:.4g}")
        for one in answer.exemplars
    ]
    return Card(
        title=answer.path,
        answer=told,
        is_abstained=answer.is_abstained,
        films=tuple(ShownFilm(path, _film(path)) for path in films[:_MOST_FILMS]),
        bars=tuple(sorted(answer.probabilities.items(), key=lambda one: -one[1])),
        facts=tuple(facts),
        exemplars=tuple(exemplars),
    )


def _in_words(reason: str) -> str:
    return reason.replace("_", " ")


def _film(path: str) -> bytes | None:
    """Return a film that fits in a square, as JPEG; None: it cannot be read."""
    try:
        film = Image.fromarray(read_gray(path))
    except (OSError, ValueError):
        return None
    film.thumbnail((_FILM_PX, _FILM_PX))
    return _jpeg(np.asarray(film))


def _jpeg(gray: np.ndarray | None) -> bytes | None:
    return None if gray is None else image_bytes(Image.fromarray(gray))
