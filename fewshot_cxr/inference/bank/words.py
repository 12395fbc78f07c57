"""What a bank holds and what to beware of, for people to read."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import bdtrc

from fewshot_cxr._html import counts_text
from fewshot_cxr.data.readers.cells import ALIKE, alike_names
from fewshot_cxr.distances import pairwise_distances
from fewshot_cxr.inference.bank.bank import SupportBank
from fewshot_cxr.inference.bank.exemplar_table import ExemplarTable
from fewshot_cxr.inference.deciding import Decider

_CHILD_YEARS = 18
_ALIKE = 0.05  # of the usual distance to the nearest exemplar
_MOST_MEASURED = 4000  # exemplars: every pair is measured
_MOST_LEFT_OUT = 1000  # exemplars: three seconds
_MEAN_RULE, _PLAIN_RULE, _BY_CHANCE = "mean_distance", "prototype", 0.005


@dataclass(frozen=True)
class FindingCounts:
    """How many exemplars a finding has, of how many patients, and from where.

    Args:
        finding: by name.
        n_films: exemplars.
        n_patients: of which patients are known.
        n_unknown: films whose patient nobody knows.
        sources: films of each source.
    """

    finding: str
    n_films: int
    n_patients: int
    n_unknown: int
    sources: dict[str, int]

    def row(self) -> tuple[str, ...]:
        """Return texts: finding, films, patients, sources."""
        patients = f"{self.n_patients:,}"
        if self.n_unknown:
            known = f", {patients} known" if self.n_patients else ""
            patients = f"unknown ({self.n_unknown:,} film{_plural(self.n_unknown)}){known}"
        return self.finding, f"{self.n_films:,}", patients, counts_text(self.sources)


def bank_counts(table: ExemplarTable) -> list[FindingCounts]:
    """Return the counts of each finding, by name.

    Examples:
        >>> from fewshot_cxr import ImageSpec
        >>> from fewshot_cxr.data import DatasetFilms
        >>> from fewshot_cxr.inference.bank.exemplar_table import table_of
        >>> films = [(np.full((8, 8), gray, np.uint8), "normal" if gray < 2 else "covid19") for gray in range(3)]
        >>> table = table_of(DatasetFilms(films, ImageSpec(size_px=8)), np.eye(3), np.eye(3))
        >>> [counts.row() for counts in bank_counts(table)]
        [('covid19', '1', 'unknown (1 film)', 'unknown 1'), ('normal', '2', 'unknown (2 films)', 'unknown 2')]
    """
    found = []
    for name in sorted(set(table.findings)):
        rows = [row for row, one in enumerate(table.findings) if one == name]
        known = [row for row in rows if table.has_patient[row]]
        patients = {table.people[row] for row in known}
        sources = Counter(table.sources[row] or "unknown" for row in rows)
        found.append(FindingCounts(name, len(rows), len(patients), len(rows) - len(known), dict(sources)))
    return found


def bank_warnings(bank: SupportBank) -> Iterator[str]:
    """Yield what to beware of: names, lone sources, children, patients twice, equal films, a poorer rule, odd films."""
    table = bank.table
    counts = bank_counts(table)
    n_films = {one.finding: one.n_films for one in counts}
    for alike in alike_names(n_films):
        told = ", ".join(f"{name} ({n_films[name]:,} film{_plural(n_films[name])})" for name in alike)
        yield f"{ALIKE}: {told}; if so, take one out by `fscxr bank remove` and add its films to another"
    lone = {next(iter(one.sources)) for one in counts if len(one.sources) == 1}
    if len(lone) > 1 and "unknown" not in lone:
        names = ", ".join(f"{one.finding} ({next(iter(one.sources))})" for one in counts if len(one.sources) == 1)
        yield f"each of these findings has a source of its own: {names}; the bank may tell hospitals, not findings"
    is_child = table.ages < _CHILD_YEARS
    if is_child.any() and (table.ages >= _CHILD_YEARS).any():
        yield f"{int(is_child.sum()):,} of {len(table):,} exemplars are of children, beside adults"
    for one in counts:
        if one.n_patients and one.n_films - one.n_unknown > one.n_patients:
            patients = f"{one.n_patients:,} patient{_plural(one.n_patients)}"
            yield f"{one.finding}: {one.n_films - one.n_unknown:,} exemplars of {patients}"
        if one.n_unknown:
            films = f"{one.finding}: of {one.n_unknown:,} film{_plural(one.n_unknown)} nobody knows the patient"
            yield f"{films}; each counts as one of its own, and what is promised holds only if it is"
    if pairs := _alike(table):
        first, second = (table.names[row] for row in pairs[0])
        count = f"{len(pairs):,} pair{_plural(len(pairs))} of exemplars"
        yield f"nearly the same film: {count}, such as {first} and {second}"
    yield from _better_rule(bank.exemplars.decider)
    if bank.exemplars.are_films and (odd := int((~table.is_frontal).sum())):
        yield f"{odd:,} of {len(table):,} exemplars do not look like frontal films of the chest"


def bank_json(bank: SupportBank) -> dict[str, Any]:
    """Return plain JSON values that say what a bank is."""
    return {
        "bank": bank.content_hash,
        "encoder": bank.terms.encoder_name,
        "weights": dict(bank.terms.encoder["card"].get("weights", {})),
        "rule": bank.terms.rule,
        "distance": bank.terms.distance,
        "findings": [vars(one) for one in bank_counts(bank.table)],
        "told": dict(bank.facts()),
        "warnings": list(bank_warnings(bank)),
        "receipt": None if bank.receipt is None else vars(bank.receipt),
    }


def _plural(count: int) -> str:
    return "" if count == 1 else "s"


def _better_rule(decider: Decider) -> Iterator[str]:
    """Yield that prototypes tell the exemplars better: a few alike films draw others by their mean distance."""
    if decider.rule != _MEAN_RULE or len(decider.support) > _MOST_LEFT_OUT:
        return
    other = Decider(decider.support, rule=_PLAIN_RULE, distance=decider.distance)
    is_right = []
    for one in (decider, other):
        rows, distances = one.left_out()
        is_right.append(distances.argmin(dim=1) == one.labels[rows])
    own, better = is_right
    n_lost, n_won = int((own & ~better).sum()), int((better & ~own).sum())
    # McNemar's exact test: were both as good, each exemplar that they tell otherwise would be a toss of a coin.
    if n_won and bdtrc(n_won - 1, n_won + n_lost, 0.5) < _BY_CHANCE:
        yield (
            f"by {decider.rule} {own.double().mean():.0%} of the exemplars are told right by those of other patients, "
            f"by {_PLAIN_RULE} {better.double().mean():.0%}: build the bank with --rule {_PLAIN_RULE}"
        )


def _alike(table: ExemplarTable) -> list[tuple[int, int]]:
    """Return pairs of rows that lie far nearer to each other than exemplars usually do."""
    if len(table) > _MOST_MEASURED:
        return []
    vectors = table.embeddings.vectors
    near = pairwise_distances(torch.from_numpy(vectors), torch.from_numpy(vectors), "euclidean").numpy()
    np.fill_diagonal(near, np.inf)
    rows, columns = np.nonzero(np.triu(near < _ALIKE * np.median(near.min(axis=1))))
    return list(zip(rows.tolist(), columns.tolist(), strict=True))
