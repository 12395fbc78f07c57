"""Result values become rows of text: what a page and a terminal show alike."""

from dataclasses import dataclass

from fewshot_cxr.evaluation.results import EpisodicResult, Estimate
from fewshot_cxr.visualise.style import percent


@dataclass(frozen=True)
class Table:
    """Rows of text under column heads: the first column names the row, the others stand to the right.

    Raises:
        ValueError: a row is longer or shorter than the heads.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row has {len(row)} cells under {len(self.columns)} columns: {row}")


def interval_text(estimate: Estimate) -> str:
    """Return a 95 % interval over episodes as '80.9 to 81.6 %'; 'none' below two episodes."""
    if estimate.ci95_episodes is None:
        return "none"
    low, high = estimate.ci95_episodes
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def protocol_text(result: EpisodicResult) -> str:
    """Return the protocol of the episodes in one line."""
    return (
        f"{result.n_way}-way {result.n_shot}-shot, {result.n_query} queries per finding, "
        f"{result.n_episodes:,} episodes, rule {result.rule} ({result.distance}), seed {result.seed}"
    )


def recall_table(result: EpisodicResult) -> Table:
    """Return recall by finding with its interval, and what the finding was most often taken for."""
    rows = []
    for index, name in enumerate(result.findings):
        recall = result.per_class_recall.get(name)
        if recall is not None:
            rows.append((name, percent(recall.mean), interval_text(recall), _most_often_taken_for(result, index)))
    return Table(("finding", "recall", "95 % over episodes", "most often taken for"), tuple(rows))


def accuracy_table(result: EpisodicResult) -> Table:
    """Return accuracy beside the floors and chance, best known first."""
    rows = [("accuracy", percent(result.accuracy.mean), interval_text(result.accuracy))]
    rows += [(floor_name(name), percent(floor.mean), interval_text(floor)) for name, floor in result.floor.items()]
    rows.append(("chance", percent(1 / result.n_way), ""))
    return Table(("", "mean", "95 % over episodes"), tuple(rows), caption=protocol_text(result))


def floor_name(name: str) -> str:
    """Return what a floor is: nearest centroid on something simpler than embeddings."""
    return f"floor: nearest centroid on {name}"


def protocol_facts(result: EpisodicResult) -> tuple[tuple[str, str], ...]:
    """Return what one needs to draw the same episodes again, as (name, text) pairs."""
    return (
        ("episodes", protocol_text(result)),
        ("hash of the episodes", result.episodes_hash),
        (
            "films judged",
            f"{result.n_films:,} of {result.n_patients:,} patients; no patient is in both support and query",
        ),
        ("speed", f"{result.episodes_per_second:,.0f} episodes per second"),
    )


def _most_often_taken_for(result: EpisodicResult, index: int) -> str:
    row = result.confusion[index]
    wrong = [(count, -other) for other, count in enumerate(row) if other != index and count > 0]
    if not wrong:
        return "nothing else"
    count, other = max(wrong)
    return f"{result.findings[-other]} ({percent(count / sum(row))})"
