"""The best and the worst episodes of a result, film by film."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, zip_longest

import numpy as np

from fewshot_cxr.evaluation.episodic.extremes import ShownEpisode, ShownQuery
from fewshot_cxr.report.html import Section
from fewshot_cxr.report.pictures import Picture
from fewshot_cxr.report.tables import Table
from fewshot_cxr.visualise.episode_figure import QueryTile, episode_figure
from fewshot_cxr.visualise.text import percent

_MOST_QUERIES = 16  # of an episode that are drawn
_MOST_FINDINGS = 3  # beyond, a table with a distance to each does not fit

Film = Callable[[str], np.ndarray]


def extremes_section(
    episodes: Sequence[ShownEpisode],
    film: Film,
    *,
    n_episodes: int,
    rule: str,
    heading: str = "The best and the worst episode",
) -> Section:
    """Show episodes with their films, what each film was taken for, and its distance to each finding.

    Args:
        episodes: of `extreme_episodes`, one at least.
        film: path -> the film, uint8 (H, W).
        n_episodes: among which they are the best and the worst.
        rule: that decided.
        heading: of the section.
    """
    told = (
        f"Of {n_episodes:,} episodes: {', '.join(map(_episode_text, episodes))}. Of equals the first one drawn is "
        "shown. The best and the worst of many differ by chance too: look at the films, not at the two numbers.",
        f"Below a film: its distance to what the rule {rule} took it for and, where that is wrong, to its own finding. "
        "Distances are in the unit of the embedding; smaller is closer.",
    )
    chosen = [(episode, _queries_to_draw(episode)) for episode in episodes]
    # The last is the worst, which teaches most.
    *others, shown = (_picture(episode, queries, film) for episode, queries in chosen)
    folded = [
        Section(f"The films of the episode {_episode_text(episode)}", pictures=(picture,))
        for (episode, _), picture in zip(chosen, others, strict=False)
    ]
    tables = tuple(_table(episode, queries) for episode, queries in chosen)
    names = Section("The names of these films, and all distances", tables=tables)
    return Section(heading, told, (shown,), folded=(*folded, names))


def _episode_text(episode: ShownEpisode) -> str:
    end = "best" if episode.is_best else "worst"
    n_right = sum(query.is_right for query in episode.queries)
    return f"{end} number {episode.number:,} with {n_right} of {len(episode.queries)} films right"


def _queries_to_draw(episode: ShownEpisode) -> list[ShownQuery]:
    """Return the queries that are drawn: wrong ones of each finding in turn, then right ones likewise."""
    findings = list(dict.fromkeys(query.finding for query in episode.queries))
    kept: list[ShownQuery] = []
    for is_right in (False, True):
        alike = [query for query in episode.queries if query.is_right is is_right]
        turns = zip_longest(*([query for query in alike if query.finding == name] for name in findings))
        kept += [query for query in chain.from_iterable(turns) if query is not None]
    return sorted(kept[:_MOST_QUERIES], key=lambda query: (query.is_right, findings.index(query.finding)))


def _picture(episode: ShownEpisode, queries: Sequence[ShownQuery], film: Film) -> Picture:
    support: dict[str, list[np.ndarray]] = {}
    for finding, path in episode.support:
        support.setdefault(finding, []).append(film(path))
    tiles = [QueryTile(film(query.path), query.finding, query.predicted, query.distances) for query in queries]
    end = "Best" if episode.is_best else "Worst"
    title = f"{end} episode, number {episode.number:,}: {percent(episode.accuracy)} right"
    n_wrong = sum(not query.is_right for query in episode.queries)
    return Picture.drawn(
        partial(episode_figure, support, tiles, title=title),
        alt=f"{title}. Labelled films of {', '.join(support)}; below them {_drawn_text(episode, queries)}, of which "
        f"{sum(not query.is_right for query in queries)} were taken for another finding; the table has their names.",
        caption=f"Drawn: {_drawn_text(episode, queries)}, the {n_wrong} wrong ones first." if n_wrong else "",
        # Films are heavy: one copy, on dark as on a light box.
        themes=("dark",),
        form="jpeg",
    )


def _drawn_text(episode: ShownEpisode, queries: Sequence[ShownQuery]) -> str:
    return f"{len(queries)} of the {len(episode.queries)} films that were asked"


def _table(episode: ShownEpisode, queries: Sequence[ShownQuery]) -> Table:
    findings = list(episode.queries[0].distances)
    is_narrow = len(findings) <= _MOST_FINDINGS
    heads = findings if is_narrow else ["what it was taken for", "its own finding"]
    rows = []
    for query in queries:
        names = findings if is_narrow else [query.predicted[0], query.finding]
        cells = (f"{query.distances[name]:#.4g}".rstrip(".") for name in names)
        rows.append((query.path, query.finding, " = ".join(query.predicted), *cells))
    end = "best" if episode.is_best else "worst"
    return Table(
        ("film", "finding", "taken for", *(f"to {name}" for name in heads)),
        tuple(rows),
        caption=f"The {end} episode, number {episode.number:,}: {_drawn_text(episode, queries)}, with their distances",
    )
