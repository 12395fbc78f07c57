"""What results say of themselves in a console and a notebook: (name, text) pairs, the number first."""

from collections.abc import Iterable, Mapping
from typing import Any

from fewshot_cxr._html import counts_text, short_name
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.unknown_patients import films_text

Facts = list[tuple[str, str]]


def result_facts(result: Any) -> Facts:
    """Return what a result is of, its numbers over all findings, its baselines and its warnings.

    Args:
        result: a `Result`.
    """
    over = result.interval_over
    facts = [("kind", result.kind.replace("_", " "))]
    if (asked := result.episodes) is not None:
        facts[0] = ("kind", f"{asked.n_episodes:,} episodes, {asked.n_way}-way")
    facts += [(name, estimate_text(one, over)) for name, one in result.scores.overall.items() if name in _FIRST]
    facts += [(f"accuracy by {name}", estimate_text(one, over)) for name, one in result.baselines.items()]
    facts.append(("rule", f"{result.rule} ({result.distance})" if result.distance else result.rule))
    facts.append(("films", films_text(result.n_films, result.n_patients, result.n_films_without_patient)))
    facts.append(("findings", names_text(result.findings)))
    return facts + [("warning", text) for text in result.warnings]


def answers_facts(answers: Any) -> Facts:
    """Return how many films of which findings were answered, and by what.

    Args:
        answers: an `Answers`.
    """
    n_films, n_unknown = len(answers), int((~answers.has_patient).sum())
    counts = dict(zip(answers.findings, (answers.truth == 1).sum(axis=0).tolist(), strict=True))
    facts = [("films", films_text(n_films, len(set(answers.patient_ids.tolist())), n_unknown))]
    facts += [("findings", counts_text(counts)), ("rule", answers.rule)]
    if answers.is_exclusive:
        right = answers.credits[range(n_films), answers.true_ids].mean()
        facts.append(("decided rightly", f"{100 * right:.1f} %"))
    return facts


def audit_facts(audit: Any) -> Facts:
    """Return what an audit looked at, and what it found.

    Args:
        audit: an `Audit`.
    """
    films = audit.films
    counts = {"leaks": audit.leaks, "exact duplicates": audit.exact_duplicates}
    counts |= {"near duplicates": audit.near_duplicates, "possible duplicates": audit.possible_duplicates}
    facts = [("films", films_text(films.n_films, films.n_patients, films.n_films_without_patient))]
    facts.append(("findings", counts_text(films.by_finding)))
    facts.append(("checks that found something", names_text(name.replace("_", " ") for name in audit.failed())))
    return facts + [(name, f"{len(found):,}") for name, found in counts.items() if found]


def comparison_facts(comparison: Any) -> Facts:
    """Return what was compared, and the first number of it.

    Args:
        comparison: a `Comparison`.
    """
    first, second = map(short_name, comparison.names)
    facts = [("compared", f"{first} less {second}, {comparison.results.replace('_', ' ')}")]
    facts.append(("films", films_text(comparison.n_films, comparison.n_patients, comparison.n_films_without_patient)))
    facts += [(row.number, difference_text(row)) for row in comparison.rows[:1]]
    return facts + [("warning", text) for text in comparison.warnings]


def difference_text(row: Any) -> str:
    """Return a `Difference` in words: its size, its interval and its p-value, as far as they are known.

    Args:
        row: of a `Comparison`.
    """
    interval = "" if row.ci95 is None else f" (95 % {row.ci95[0]:+.3f} to {row.ci95[1]:+.3f})"
    p_value = "" if row.p_value is None else f", p {row.p_value:.2g}"
    return f"{row.difference:+.3f}{interval}{p_value}"


def estimate_text(one: Estimate, over: str) -> str:
    """Return a share in per cent with its interval.

    Args:
        one: the number, 0..1.
        over: what its interval is over, in words.
    """
    if one.mean is None:
        return "unknown"
    pair, what = (one.ci95_patients, over) if one.ci95_patients else (one.ci95_episodes, "over episodes")
    return f"{100 * one.mean:.1f} %" + (f" (95 % {what} {100 * pair[0]:.1f} to {100 * pair[1]:.1f})" if pair else "")


def names_text(names: Iterable[str]) -> str:
    """Return names in a line, of more than eight the first seven and how many more there are."""
    found = list(map(short_name, names))
    shown = found if len(found) <= _MOST_NAMES else [*found[: _MOST_NAMES - 1], f"and {len(found) - 7:,} more"]
    return ", ".join(shown) or "none"


_FIRST: Mapping[str, None] = dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1", "auroc"))
_MOST_NAMES = 8
