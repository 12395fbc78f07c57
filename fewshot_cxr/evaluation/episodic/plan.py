"""Episodes with what they ask, and how a file or a result has them drawn again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.episodes import Episodes, EpisodeSource
from fewshot_cxr.evaluation.episodic.fold_episodes import FoldEpisodes
from fewshot_cxr.evaluation.result import Result


@dataclass(frozen=True, eq=False)
class Plan:
    """Episodes with what they ask. `seen` and `novel`: findings of theirs that the encoder was, was not trained on.

    Both are empty where the training is not known. `notes` says what was chosen, left out or filled up; what was shrunk
    or skipped for want of films stands in the notes of the episodes.

    Examples:
        >>> from fewshot_cxr.evaluation import evaluate_plan
        >>> films = Embeddings([[n % 2, 0.01 * n] for n in range(12)], ["normal", "covid19"] * 6)
        >>> plan = Plan("closed", Episodes.draw(films, n_shot=1, n_query=2, n_episodes=10))
        >>> evaluate_plan(films, plan, patient_interval=False).accuracy.mean
        1.0
    """

    protocol: str
    episodes: EpisodeSource
    seen: tuple[str, ...] = ()
    novel: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def draw_again(films: Embeddings, protocol: Mapping[str, Any]) -> Episodes | FoldEpisodes:
    """Draw the episodes of a file or a result anew, from what it says of how they were drawn.

    Raises:
        KeyError, TypeError, ValueError: it does not say all, or these films do not serve.
    """
    if "n_folds" in protocol:
        return FoldEpisodes.draw(films, **{name: protocol[name] for name in ("n_folds", "n_repeats", "seed", "never")})
    names = ("n_way", "n_shot", "n_query", "n_episodes", "seed", "prevalence", "if_too_small", "always", "never")
    told = {name: protocol[name] for name in (*names, "allow_patient_overlap")}
    return Episodes.draw(films, **told, nested_in=protocol.get("nested_in"))


def replay_plan(embeddings: Embeddings, result: Result) -> Plan:
    """Draw the episodes of a result again.

    Args:
        embeddings: of the films it was judged on, by any encoder, in any order.
        result: of `evaluate_episodes`; its protocol and seed settle the draw, its hash names the episodes.

    Raises:
        ValueError: these films give other episodes, or the result does not say all that decided the draw.

    Examples:
        >>> from fewshot_cxr.evaluation import evaluate_episodes
        >>> films = Embeddings([[n % 2, 0.01 * n] for n in range(12)], ["normal", "covid19"] * 6)
        >>> result = evaluate_episodes(films, n_shot=1, n_query=2, n_episodes=10, patient_interval=False, progress=None)
        >>> plan = replay_plan(films, result)
        >>> plan.protocol, plan.episodes.hash == result.asked.episodes_hash
        ('closed', True)
    """
    asked, told_hash = result.asked.protocol, result.asked.episodes_hash
    if asked.get("n_may_support") is not None or asked.get("n_may_query") is not None:
        raise ValueError(
            f"the episodes of protocol {asked.get('name')} were drawn from chosen sources, which a result does not "
            "hold: they cannot be drawn again from it"
        )
    told = "the films are not those that the result was judged on; name these (--data, --split)"
    try:
        episodes = draw_again(embeddings, asked)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the episodes cannot be drawn again ({error}): {told}") from error
    if episodes.hash != told_hash:
        raise ValueError(f"the episodes are others (hash {episodes.hash[:12]}, not {told_hash[:12]}): {told}")
    return Plan(str(asked.get("name", "closed")), episodes, tuple(asked.get("seen", ())), tuple(asked.get("novel", ())))
