"""Does the finding follow from what is no sign of it: the source, the film's size, its border, a tiny thumbnail?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from fewshot_cxr.data import patient_groups
from fewshot_cxr.evaluation.audit.film_pass import FilmFacts
from fewshot_cxr.evaluation.audit.patients import association, tabulate
from fewshot_cxr.evaluation.audit.result import Confounding, Measure
from fewshot_cxr.evaluation.audit.shortcuts import SHORTCUTS
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.records import Record, Records
from fewshot_cxr.seeding import generator, hashed_bits, text_key

MAX_FILMS = 20_000
N_FOLDS = 5
_N_DRAWS = 1000


@dataclass(frozen=True, eq=False)
class _Case:
    """Films that can be classified: rows, class of each, group of each, the fold it is tested in."""

    films: tuple[Record, ...]
    facts: tuple[FilmFacts, ...]
    labels: np.ndarray
    groups: np.ndarray
    folds: np.ndarray
    findings: tuple[str, ...]
    notes: tuple[str, ...]


def assess_confounding(
    records: Records, facts: Sequence[FilmFacts | None], *, seed: int = 0, max_films: int = MAX_FILMS
) -> Confounding:
    """Measure how well the finding follows from source, size, border and thumbnail.

    Cramer's V is over all single-label films with a source. Each balanced accuracy (mean recall of the findings; chance
    is 1 / their number) is of predictions for films of patients that the classifier did not see: 5 folds, grouped by
    patient and stratified by finding, fewer where a finding has fewer groups. Its interval is over resampled groups
    of patients, widened for the films that the folds share. Neither row order nor names of patients change a number.

    Args:
        records: the films; those of several findings do not take part.
        facts: of each film, None for an unreadable one, which does not take part in the balanced accuracies.
        seed: of sample, folds, trees and resampling.
        max_films: of more readable ones, so many are sampled for the balanced accuracies.
    """
    single = [row for row, film in enumerate(records) if len(film.findings) == 1]
    notes = _notes(records, len(single))
    stated = [(records[row].finding, source) for row in single if (source := records[row].source)]
    v = association([name for name, _ in stated], [source for _, source in stated], what="source")
    groups = patient_groups(records)
    usable = sorted((row for row in single if facts[row] is not None), key=lambda row: records[row].path)
    sample = _sample(records, usable, seed, max_films)
    if len(sample) < len(usable):
        notes += (f"balanced accuracies are from {len(sample)} films, sampled from {len(usable)}",)
    with_source = [row for row in sample if records[row].source]
    everything = _case(records, facts, groups, sample, seed)
    sourced = everything if with_source == sample else _case(records, facts, groups, with_source, seed)
    why = v.number.reason
    by_source = Measure.impossible(why.partition(": ")[2]) if why else _measure(sourced, "source", seed)
    accuracies = {"source": by_source}
    accuracies |= {name: _measure(everything, name, seed) for name in ("size", "border", "thumbnail")}
    return Confounding(v, tabulate(records, "source"), accuracies, notes)


def _notes(records: Records, n_single: int) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    if n_single < len(records):
        notes += (f"{len(records) - n_single} films of several findings take no part in V and balanced accuracies",)
    n_silent = sum(film.source is None for film in records)
    if 0 < n_silent < len(records):
        notes += (f"{n_silent} films state no source and take no part in what is said of sources",)
    if records and not any(film.patient_id or film.group_id for film in records):
        notes += ("no patient is stated: every film counts as one, so balanced accuracies may be too high",)
    return notes


def _sample(records: Records, rows: list[int], seed: int, max_films: int) -> list[int]:
    if len(rows) <= max_films:
        return rows
    keys = np.array([text_key(records[row].path) for row in rows], dtype=np.uint64)
    kept = np.argsort(hashed_bits(seed, text_key("confounding"), keys), kind="stable")[:max_films]
    return [rows[place] for place in np.sort(kept).tolist()]


def _case(
    records: Records, facts: Sequence[FilmFacts | None], groups: np.ndarray, rows: list[int], seed: int
) -> _Case | str:
    """Leave out findings of one group and draw the folds; a text says why that is impossible."""
    members: dict[str, set[int]] = {}
    for row in rows:
        members.setdefault(records[row].finding, set()).add(int(groups[row]))
    findings = tuple(sorted(name for name, own in members.items() if len(own) > 1))
    if len(findings) < 2:
        return "fewer than two findings have films of two patients"
    lone = sorted(set(members) - set(findings))
    notes: tuple[str, ...] = (f"left out, films of one patient only: {', '.join(lone)}",) if lone else ()
    kept = [row for row in rows if records[row].finding in findings]
    labels = np.array([findings.index(records[row].finding) for row in kept], dtype=np.int64)
    # Renumbered by first film: the folds are then the same in whatever order the films were listed.
    first_of = {group: number for number, group in enumerate(dict.fromkeys(groups[kept].tolist()))}
    own_groups = np.array([first_of[group] for group in groups[kept].tolist()], dtype=np.int64)
    n_folds = min(N_FOLDS, *(len(members[name]) for name in findings))
    if n_folds < N_FOLDS:
        notes += (f"{n_folds} folds instead of {N_FOLDS}: a finding has no more groups of patients",)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=_number(seed, "folds"))
    folds = np.empty(len(kept), dtype=np.int64)
    for fold, (_, test) in enumerate(splitter.split(labels, labels, own_groups)):
        folds[test] = fold
    films = tuple(records[row] for row in kept)
    known = tuple(found for row in kept if (found := facts[row]) is not None)
    return _Case(films, known, labels, own_groups, folds, findings, notes)


def _measure(case: _Case | str, name: str, seed: int) -> Measure:
    if isinstance(case, str):
        return Measure.impossible(case)
    shortcut = SHORTCUTS[name]
    features = shortcut.see(case.films, case.facts)
    predicted = np.empty_like(case.labels)
    for fold in np.unique(case.folds).tolist():
        test = case.folds == fold
        rule_seed = _number(seed, name, fold)
        predicted[test] = shortcut.classify(features[~test], case.labels[~test], features[test], rule_seed)
    return Measure(
        _balanced_accuracy(case, predicted == case.labels, generator(seed, "resample", name)),
        chance=1 / len(case.findings),
        n_films=len(case.labels),
        n_groups=int(case.groups.max()) + 1,
        findings=case.findings,
        notes=case.notes,
    )


def _balanced_accuracy(case: _Case, is_hit: np.ndarray, draw: np.random.Generator) -> Estimate:
    """Return the mean recall, and its 95 % interval over groups resampled within their rarest finding.

    Resampling alone takes the classifiers as given, though the folds share their films: where nothing can be learned,
    its interval misses chance in about one set of seven. So it is stretched, as Nadeau and Bengio correct the variance.

    Source: Nadeau, Bengio, "Inference for the Generalization Error", 2003, section 3.
    """
    n_classes, n_groups = len(case.findings), int(case.groups.max()) + 1
    cells = case.groups * n_classes + case.labels
    counts = np.bincount(cells, minlength=n_groups * n_classes).reshape(n_groups, n_classes)
    hits = np.bincount(cells, weights=is_hit, minlength=n_groups * n_classes).reshape(n_groups, n_classes)
    value = float((hits.sum(axis=0) / counts.sum(axis=0)).mean())
    rarest = np.where(counts > 0, counts.sum(axis=0), np.inf).argmin(axis=1)
    table = np.concatenate([hits, counts], axis=1)
    drawn = np.zeros((_N_DRAWS, 2 * n_classes))
    for class_id in range(n_classes):
        own = table[rarest == class_id]
        for number in range(_N_DRAWS if len(own) else 0):
            drawn[number] += np.bincount(draw.integers(0, len(own), len(own)), minlength=len(own)) @ own
    drawn_hits, drawn_counts = np.split(drawn, 2, axis=1)
    # A finding whose films all hang on patients of a rarer one may be missing from a draw; it then does not count.
    is_there = drawn_counts > 0
    recalls = np.divide(drawn_hits, drawn_counts, out=np.zeros_like(drawn_hits), where=is_there)
    low, high = np.quantile(recalls.sum(axis=1) / is_there.sum(axis=1), (0.025, 0.975))
    n_folds = len(np.unique(case.folds))
    stretch = (1 + n_folds / (n_folds - 1)) ** 0.5
    ends = max(0.0, value - stretch * (value - float(low))), min(1.0, value + stretch * (float(high) - value))
    return Estimate(value, ci95_patients=ends)


def _number(seed: int, *key: int | str) -> int:
    return int(generator(seed, *key).integers(2**31))
