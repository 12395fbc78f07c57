"""What episodes have asked, in words: their protocol, what the intervals are over, and how to read them."""

from fewshot_cxr.evaluation.episodic.assemble import OVERLAP
from fewshot_cxr.evaluation.results import EpisodicResult


def protocol_text(result: EpisodicResult) -> str:
    """Return the protocol of the episodes in one line."""
    name = result.protocol.get("name", "closed")
    transductive = ", transductive" if result.is_transductive else ""
    return (
        f"{'' if name == 'closed' else f'Protocol {name}: '}{result.n_way}-way{_counts_text(result)}, "
        f"{result.n_episodes:,} episodes, rule {result.rule} ({result.distance}{transductive}), seed {result.seed}"
    )


def protocol_facts(result: EpisodicResult) -> tuple[tuple[str, str], ...]:
    """Return what one needs to draw the same episodes again, as (name, text) pairs."""
    kinds = {"seen": "seen in training", "novel": "not seen in training"}
    apart = "PATIENTS MAY BE in both" if _overlaps(result) else "no patient is in both"
    return (
        ("episodes", protocol_text(result)),
        *((text, ", ".join(result.protocol[kind])) for kind, text in kinds.items() if result.protocol.get(kind)),
        ("hash of the episodes", result.episodes_hash),
        ("films judged", f"{result.n_films:,} of {result.n_patients:,} patients; {apart} support and query"),
        ("interval over patients", patients_text(result)),
        ("speed", f"{result.episodes_per_second:,.0f} episodes per second, without floors and patients"),
        *(("note", note) for note in result.notes),
    )


def patients_text(result: EpisodicResult) -> str:
    """Return what the interval over patients was made from."""
    if not result.n_patient_episodes or interval_kind(result) == "over episodes":
        return "none was estimated"
    n_patients, n_episodes = result.n_patients, result.n_patient_episodes
    return f"{n_patients:,} patients left out in turn, in {n_episodes:,} episodes"


def reading_text(result: EpisodicResult) -> str:
    """Return how the two intervals are to be read, in plain words."""
    episodes = (
        f"over episodes: how finely {result.n_episodes:,} episodes settle the mean on these very films; more episodes "
        "make it narrower, and it says nothing of other patients"
    )
    if interval_kind(result) == "over episodes":
        return f"Intervals {episodes}. There is none over patients here."
    patients = "over patients: where the number would lie with other patients of the same kind and this same encoder"
    quoted = "" if _overlaps(result) else "; this is the one to quote"
    return f"Interval {patients}{quoted}. Interval {episodes}."


def interval_kind(result: EpisodicResult) -> str:
    """Return what the intervals that are shown alone are over: patients or, where there are none, episodes."""
    some = result.accuracy if result.accuracy.mean is not None else result.scores.balanced_accuracy
    return "over episodes" if some.ci95_patients is None else "over patients"


def floor_name(name: str) -> str:
    """Return what a floor is: nearest centroid on something simpler than embeddings."""
    return f"floor: nearest centroid on {name}"


def is_alarm(warning: str) -> bool:
    """Whether a warning makes the numbers worthless for most purposes: patients were not kept apart."""
    return warning == OVERLAP


def _overlaps(result: EpisodicResult) -> bool:
    return bool(result.protocol.get("allow_patient_overlap"))


def _counts_text(result: EpisodicResult) -> str:
    if result.n_shot is None or result.n_query is None:
        folds = {name: result.protocol.get(name) for name in ("n_folds", "n_repeats")}
        return f", cross-validation in {folds['n_folds']} folds, {folds['n_repeats']} times"
    if isinstance(result.n_shot, dict):
        shots = ", shots " + ", ".join(f"{name} {count}" for name, count in result.n_shot.items())
    else:
        shots = f" {result.n_shot}-shot"
    if result.protocol.get("prevalence") == "natural":
        return f"{shots}, {result.n_way * result.n_query} queries in the natural shares of the findings"
    return f"{shots}, {result.n_query} queries per finding"
