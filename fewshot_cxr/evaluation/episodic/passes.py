"""The two passes over episodes: one for the numbers, one for how they would move with other patients."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import EpisodeBlock, Episodes, EpisodeSource, SavedEpisodes
from fewshot_cxr.evaluation.episodic.fold_episodes import FoldEpisodes
from fewshot_cxr.evaluation.episodic.multi_label import MultiLabelScorer
from fewshot_cxr.evaluation.episodic.patients import N_PARTS, Cells, PatientPlan, PatientTally, PatientUnits
from fewshot_cxr.evaluation.episodic.plan import draw_again
from fewshot_cxr.evaluation.episodic.scorer import Scorer
from fewshot_cxr.evaluation.episodic.summary import EpisodeSums
from fewshot_cxr.evaluation.episodic.tally import Scored
from fewshot_cxr.evaluation.episodic.threads import Clock, in_order

AnyScorer = Scorer | MultiLabelScorer
_MOST_OFTEN = 0.8  # share of the episodes that any patient should be in, at most: the rest is the episodes without it
_PROBE = 256
_TOO_OFTEN = (
    "a finding has so few patients that nearly every episode holds them all: more patients are needed, or fewer shots"
)


def plan_patient_pass(episodes: EpisodeSource, films: Embeddings, units: PatientUnits, n_episodes: int) -> PatientPlan:
    """Choose episodes that leave every patient out often enough.

    Replayed episodes are drawn anew where the films are those they were drawn from, so that a result on a file of
    episodes and one on the draw itself have the very same interval.

    Where a finding has few patients, nearly every episode holds each of them: then fewer queries are asked for the
    interval. It changes how often a film is asked, not what it is answered. A fixed support set holds every patient
    whenever they are not asked, so there the interval is over the patients who are asked.
    """
    if isinstance(episodes, SavedEpisodes):
        episodes = _as_drawn(episodes, films)
    if isinstance(episodes, FoldEpisodes):
        more = ", and films of unknown findings" * (episodes.outside is not None)
        return PatientPlan(episodes, True, note=f"the interval {units.over} holds the support set fixed{more}")
    if isinstance(episodes, SavedEpisodes):
        episodes = episodes.first(n_episodes)
    if not isinstance(episodes, Episodes):
        if _share(episodes, units) > 0.95:
            return PatientPlan(None, reason=_TOO_OFTEN)
        return PatientPlan(episodes, note=f"the interval {units.over} is read off the episodes of the file alone")
    # Elsewhere fewer queries would bring other findings, shots or shares of the findings into the episodes.
    may_shrink = episodes.prevalence == "balanced" and episodes.if_too_small in ("error", "shrink_query")
    n_query = episodes.n_query
    while True:
        fitting = replace(episodes, n_episodes=n_episodes, n_query=n_query)
        share = _share(fitting, units)
        if share <= _MOST_OFTEN or n_query == 1 or not may_shrink:
            break
        n_query = max(1, n_query // 2)
    if share > 0.95:
        return PatientPlan(None, reason=_TOO_OFTEN)
    if n_query == episodes.n_query:
        return PatientPlan(fitting)
    asked = "1 film" if n_query == 1 else f"{n_query} films"
    told = f"for the interval {units.over} each episode asks {asked} per finding instead of {episodes.n_query}"
    return PatientPlan(fitting, asks_fewer=True, note=f"{told}, so that patients can be left out")


def run_episodes(
    episodes: EpisodeSource, scorers: Mapping[str, AnyScorer], clock: Clock, progress: Callable[[int], None]
) -> dict[str, EpisodeSums]:
    """Score all episodes by each scorer; memory does not grow with their number."""
    sums = {name: EpisodeSums(scorer.layout, episodes.n_episodes) for name, scorer in scorers.items()}
    for block, scored in _scored(episodes, scorers, clock):
        with clock.times("sums"):
            for name, scorer in scorers.items():
                scorer.count(scored[name])
                sums[name].add(block.first, scored[name].rows)
        progress(len(block))
    return sums


def run_patients(
    plan: PatientPlan, units: PatientUnits, scorers: Mapping[str, AnyScorer], progress: Callable[[int], None]
) -> dict[str, PatientTally]:
    """Score the episodes of the plan, adding up those with and without each patient."""
    if plan.episodes is None:
        return {}
    # The folds of one division hang together; with few divisions there is nothing better than to take them apart.
    episodes, period = plan.episodes, 1
    if isinstance(episodes, FoldEpisodes) and episodes.n_repeats >= N_PARTS:
        period = episodes.n_folds
    tallies = {
        name: PatientTally(units, scorer.layout.n_statistics, queries_only=plan.queries_only, period=period)
        for name, scorer in scorers.items()
    }
    for block, scored in _scored(plan.episodes, scorers, Clock()):
        for name, tally in tallies.items():
            tally.add(block, scored[name].rows)
        progress(len(block))
    return tallies


def _as_drawn(saved: SavedEpisodes, films: Embeddings) -> EpisodeSource:
    """Return the episodes that were saved as they are drawn, where the same can be drawn from these films."""
    try:
        again = draw_again(films, saved.protocol)
    except (KeyError, TypeError, ValueError):  # of other films, or by masks, which the file does not hold
        return saved
    return again if again.hash == saved.hash else saved


def _share(episodes: EpisodeSource, units: PatientUnits) -> float:
    """Return in which share of the first episodes that hold its finding the most frequent unit is."""
    block = next(episodes.blocks(min(_PROBE, episodes.n_episodes)))
    return Cells.of(units).largest_share(block)


def _scored(
    episodes: EpisodeSource, scorers: Mapping[str, AnyScorer], clock: Clock
) -> Iterator[tuple[EpisodeBlock, dict[str, Scored]]]:
    """Draw blocks and have them scored by each scorer, several at once."""
    n_threads = min(scorer.rule.n_threads for scorer in scorers.values())

    def score_all(block: EpisodeBlock) -> dict[str, Scored]:
        return {name: scorer(block) for name, scorer in scorers.items()}

    def drawn() -> Iterator[EpisodeBlock]:
        blocks = episodes.blocks()
        while True:
            with clock.times("draw"):
                block = next(blocks, None)
            if block is None:
                return
            yield block

    return in_order(score_all, drawn(), n_threads)
