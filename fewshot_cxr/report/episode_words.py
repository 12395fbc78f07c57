"""What episodes have asked, in words: their protocol, what the intervals are over, and how to read them."""

from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.evaluation.warning_texts import OVERLAP, TRAINED_ON
from fewshot_cxr.unknown_patients import of_patients


def protocol_text(result: Result) -> str:
    """Return the protocol of the episodes in one line."""
    asked = result.asked
    name = asked.protocol.get("name", "closed")
    transductive = ", transductive" if result.is_transductive else ""
    return (
        f"{'' if name == 'closed' else f'Protocol {name}: '}{asked.n_way}-way{_counts_text(result)}, "
        f"{asked.n_episodes:,} episodes, rule {result.rule} ({result.distance}{transductive}), seed {asked.seed}"
    )


def protocol_facts(result: Result) -> tuple[tuple[str, str], ...]:
    """Return what one needs to draw the same episodes again, as (name, text) pairs."""
    asked = result.asked
    kinds = {"seen": "seen in training", "novel": "not seen in training"}
    apart = "PATIENTS MAY BE in both" if _overlaps(result) else "no patient is in both"
    if result.n_films_without_patient and not _overlaps(result):
        apart = "a patient may be in both"
    return (
        ("episodes", protocol_text(result)),
        *((text, ", ".join(asked.protocol[kind])) for kind, text in kinds.items() if asked.protocol.get(kind)),
        ("hash of the episodes", asked.episodes_hash),
        ("films judged", f"{judged_text(result, unit='')}; {apart} support and query"),
        (f"interval {result.interval_over}", patients_text(result)),
        ("speed", f"{asked.episodes_per_second:,.0f} episodes per second, without baselines and patients"),
        *(("note", note) for note in result.notes),
    )


def patients_text(result: Result) -> str:
    """Return what the interval over patients (or films, where these are unknown) was made from."""
    asked = result.asked
    if not asked.n_patient_episodes or interval_kind(result) == "over episodes":
        return "none was estimated"
    n_patients, n_episodes = result.n_patients, asked.n_patient_episodes
    return f"{n_patients:,} {_units(result)} left out in turn, in {n_episodes:,} episodes"


def judged_text(result: Result, unit: str = " films") -> str:
    """Return how many films of how many patients were judged, as "24 films of 6 patients"."""
    return f"{result.n_films:,}{unit}{of_patients(result.n_films, result.n_patients, result.n_films_without_patient)}"


def _units(result: Result) -> str:
    return "films" if 0 < result.n_films_without_patient == result.n_films else "patients"


def reading_text(result: Result) -> str:
    """Return how the two intervals are to be read, in plain words."""
    asked = result.asked
    episodes = (
        f"over episodes: how finely {asked.n_episodes:,} episodes settle the mean on these very films; more episodes "
        "make it narrower, and it says nothing of other patients"
    )
    if interval_kind(result) == "over episodes":
        return f"Intervals {episodes}. There is none {result.interval_over} here."
    others = f"other {_units(result)} of the same kind and this same encoder"
    patients = f"{result.interval_over}: where the number would lie with {others}"
    quoted = "" if _overlaps(result) else "; this is the one to quote"
    return f"Interval {patients}{quoted}. Interval {episodes}."


def interval_kind(result: Result) -> str:
    """Return what the intervals that are shown alone are over: patients (films) or, where there are none, episodes."""
    if result.episodes is None:
        return result.interval_over
    some = result.accuracy if result.accuracy.mean is not None else result.scores.balanced_accuracy
    return "over episodes" if some.ci95_patients is None else result.interval_over


def baseline_name(name: str) -> str:
    """Return what a baseline is: nearest centroid on something simpler than embeddings."""
    blind = {"majority": "baseline: always the commonest finding", "chance": "baseline: guessing"}
    return blind.get(name, f"baseline: nearest centroid on {name}")


def is_alarm(warning: str) -> bool:
    """Whether a warning makes the numbers worthless for most purposes: patients or films were not kept apart."""
    return warning == OVERLAP or warning.startswith(TRAINED_ON)


def _overlaps(result: Result) -> bool:
    return bool(result.asked.protocol.get("allow_patient_overlap"))


def _counts_text(result: Result) -> str:
    asked = result.asked
    if asked.n_shot is None or asked.n_query is None:
        folds = {name: asked.protocol.get(name) for name in ("n_folds", "n_repeats")}
        return f", cross-validation in {folds['n_folds']} folds, {folds['n_repeats']} times"
    if isinstance(asked.n_shot, dict):
        shots = ", shots " + ", ".join(f"{name} {count}" for name, count in asked.n_shot.items())
    else:
        shots = f" {asked.n_shot}-shot"
    if asked.protocol.get("prevalence") == "natural":
        return f"{shots}, {asked.n_way * asked.n_query} queries in the natural shares of the findings"
    return f"{shots}, {asked.n_query} queries per finding"
