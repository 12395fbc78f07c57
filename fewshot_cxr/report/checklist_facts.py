"""What runs, results and audits know of what a reporting checklist asks, each with the section that shows it."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fewshot_cxr.evaluation.audit.result import Audit
from fewshot_cxr.evaluation.learning_curve_result import LearningCurve
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report.episode_words import baseline_name, interval_kind, judged_text, protocol_text
from fewshot_cxr.report.result_sections import NUMBERS_HEADING, main_number
from fewshot_cxr.report.run_sections import ShownRun, run_section
from fewshot_cxr.report.tables import interval_text, number_name, number_text, shown_interval, value_text
from fewshot_cxr.unknown_patients import of_patients

_MOST_NAMED, _HASH = 6, 12  # characters of a hash; the whole of it stands where the answer points to


class Fact(NamedTuple):
    """A sentence that answers part of an item, and the heading of the section where its number stands."""

    text: str
    heading: str


def run_facts(run: ShownRun) -> dict[str, Fact]:
    """Return what a run knows: how it was divided, made, begun, trained and chosen."""
    card, training, split = run.card, run.card.get("training", {}), run.split
    section = run_section(run)
    told = dict(section.facts)
    spec = training.get("image_spec") or card.get("image_spec", {})
    crops = [f"{name.replace('_', ' ')} {spec[name]}" for name in ("crop", "top_crop", "border_crop") if spec.get(name)]
    gray = [f"{name} {spec[name]}" for name in ("equalise", "resize", "mean", "std") if spec.get(name)]
    sizes = [f"{name}: {text}" for name, text in section.facts if name.startswith("films of")]
    kept = ("kind", "fractions", "n_folds", "test_fold", "novel", "seed")
    divided = [f"{name.replace('_', ' ')} {split[name]}" for name in kept if split.get(name) is not None]
    n_unknown = sum(card.get("n_films_without_patient", {}).values())
    weights = told.get("weights it started from") or f"random, seed {training.get('seed', 'not recorded')}"
    learns = "metric learning, answers by distance to labelled films"  # a siamese head is a distance, too
    if card.get("head", {}).get("kind", "weighted_l1") != "weighted_l1":
        learns = "learning, a classifier"
    best, weight = (told.get(name) for name in ("best epoch", "weight of what was taught, beside what is kept"))
    facts = {
        "kind": f"deep {learns}: {told.get('encoder', '')}",
        "preprocessing": ", ".join([f"square of {spec.get('size_px', '?')} px", *crops, *gray]),
        "partition": ", ".join(divided),
        "unit": "patient" + (f"; unknown for {n_unknown:,} films, each counted as its own" if n_unknown else ""),
        "sizes": "; ".join(sizes),
        "model": told.get("encoder", ""),
        "versions": told.get("versions", ""),
        "weights": weights,
        "training": "; ".join(filter(None, (told.get("loss", ""), told.get("training", ""), _augmented(training)))),
        "sampler": f"batches: {training['sampler']}" if training.get("sampler") else "",
        "selection": f"best epoch {best}" if best else "",
        "keep": f"weight of what was taught, beside what is kept: {weight}" if weight else "",
        "findings": f"taught: {told['findings']}" if told.get("findings") else "",
        "hashes": f"hash of the split {str(split['hash'])[:_HASH]}" if "hash" in split else "",
        "command": str(run.made_by.get("command") or ""),
    }
    return {key: Fact(text, section.heading) for key, text in facts.items() if text}


def result_facts(result: Result, name: str) -> dict[str, Fact]:
    """Return what a result knows: what was judged, the numbers with their intervals, where it fails, its warnings."""
    kind, number = main_number(result)
    judged = protocol_text(result) if result.episodes is not None else judged_text(result)
    beaten = [
        f"{baseline_name(key)} {value_text(one)}" for key, one in result.baselines.items() if one.mean is not None
    ]
    beaten += [f"above {key} {_estimate(one, 'points')}" for key, one in result.above_baselines.items()]
    recalls = [f"{key} {_estimate(one)}" for key, one in result.per_class_recall.items()]
    made = f"How the numbers were made: {name}"
    facts = {
        "judged": (f"{judged}; {judged_text(result)}", made),
        "rule": (f"{result.rule}{f', {result.distance}' if result.distance else ''}", made),
        "novel": (_novel(result), made),
        "unit": (_kept_apart(result), made),
        "numbers": (", ".join(number_name(key) for key in result.scores.overall), NUMBERS_HEADING),
        "intervals": (f"95 %, {interval_kind(result)}", NUMBERS_HEADING),
        "performance": (f"{kind} {_estimate(number)}", NUMBERS_HEADING),
        "baselines": ("; ".join(beaten), NUMBERS_HEADING),
        "per_finding": (f"sensitivity: {'; '.join(recalls)}" if recalls else "", NUMBERS_HEADING),
        "failures": (_commonest_mistake(result), "What was taken for what"),
        "calibration": (_calibrated(result), "How far the probabilities may be believed"),
        "open_set": ("how surely none of these is told" if result.open_set else "", "None of these"),
        "warnings": ("; ".join(result.warnings), made),
        "hashes": (f"hash of the films {result.data_hash[:_HASH]}", made),
    }
    return {key: Fact(*fact) for key, fact in facts.items() if fact[0]}


def audit_facts(audit: Audit, name: str) -> dict[str, Fact]:
    """Return what an audit knows: sources, views, ages, what cannot be read, copies, leaks, confounding."""
    films, v = audit.films, audit.confounding.cramers_v.number.mean
    ages, n_unknown = films.children, films.n_films_without_patient
    whose = of_patients(films.n_films, films.n_patients, n_unknown)
    facts = {
        "sources": f"{films.n_films:,} films{whose}; by source {_counts(films.by_source)}",
        "exclusions": f"{len(films.unreadable):,} files could not be read; {len(audit.exact_duplicates):,} groups of "
        f"copies and {len(audit.near_duplicates):,} pairs of near copies are among the films",
        "missing": f"patients unknown for {n_unknown:,} films, ages for {ages.n_unknown:,}",
        "views": f"by view {_counts(films.by_view)}",
        "ages": f"{ages.n_children:,} films of children, {ages.n_adults:,} of adults" if ages.assessed else "",
        "findings": f"by finding {_counts(films.by_finding)}",
        "leaks": f"{len(audit.leaks):,} patients or films in several parts",
        "confounding": "" if v is None else f"finding and source: Cramer's V {v:.2f} (1: they cannot be told apart)",
    }
    return {key: Fact(text, f"Audit of the films: {name}") for key, text in facts.items() if text}


def curve_facts(curve: LearningCurve, heading: str) -> dict[str, Fact]:
    """Return what more films would bring, as far as it was measured."""
    points = [f"{point.n_shot} shots {value_text(point.accuracy)}" for point in curve.points]
    return {"forecast": Fact(f"accuracy by shots: {', '.join(points)}", heading)}


def joined(facts: Iterable[Mapping[str, Fact]]) -> dict[str, list[Fact]]:
    """Return the facts of several runs, results and audits by key, each text once."""
    found: dict[str, dict[str, Fact]] = {}
    for some in facts:
        for key, fact in some.items():
            found.setdefault(key, {}).setdefault(fact.text, fact)
    return {key: list(own.values()) for key, own in found.items()}


def _estimate(one: Estimate, form: str = "share") -> str:
    ends = shown_interval(one)
    return value_text(one, form) + (f" ({interval_text(ends, form)})" if ends is not None else "")


def _counts(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    more = f" and {len(ranked) - _MOST_NAMED} more" if len(ranked) > _MOST_NAMED else ""
    return ", ".join(f"{name} {count:,}" for name, count in ranked[:_MOST_NAMED]) + more


def _augmented(training: Mapping[str, Any]) -> str:
    if "augmentation" not in training:
        return ""
    kinds = training["augmentation"] or {}
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in kinds.items())  # 1 and 0 change nothing
    return f"augmentation: {told}" if kinds else "no augmentation"


def _novel(result: Result) -> str:
    protocol = result.episodes.protocol if result.episodes is not None else {}
    return f"findings not seen in training: {', '.join(protocol['novel'])}" if protocol.get("novel") else ""


def _kept_apart(result: Result) -> str:
    if result.episodes is None:
        return ""
    overlaps = result.episodes.protocol.get("allow_patient_overlap")
    return "PATIENTS MAY BE in support and query" if overlaps else "no patient is in support and query of an episode"


def _commonest_mistake(result: Result) -> str:
    counts = result.confusion
    cells = [(n / max(sum(row), 1e-9), t, p) for t, row in enumerate(counts) for p, n in enumerate(row) if t != p]
    if not cells or max(cells)[0] <= 0:
        return ""
    share, truth, decided = max(cells)
    return f"most often {result.findings[truth]} is taken for {result.findings[decided]}: {number_text(share)} of it"


def _calibrated(result: Result) -> str:
    return (
        "" if result.calibration is None else f"expected calibration error {_estimate(result.calibration.before.ece)}"
    )
