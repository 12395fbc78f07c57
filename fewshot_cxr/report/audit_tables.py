"""The audit of a set of films as tables: what a page and a terminal show alike."""

from collections import Counter
from collections.abc import Mapping

from fewshot_cxr.evaluation.audit.result import Audit, EmbeddingAudit, Measure
from fewshot_cxr.report.tables import UNKNOWN, Table, interval_text
from fewshot_cxr.visualise.text import percent

_SEES = {
    "source": "the source alone",
    "size": "width, height and aspect ratio alone",
    "border": "the outer border alone",
    "thumbnail": "a 16 x 16 thumbnail",
}


def confounding_table(audit: Audit) -> Table:
    """Return how well the finding follows from what is no sign of it."""
    measures = {_SEES.get(name, name): one for name, one in audit.confounding.balanced_accuracy.items()}
    caption = "How far the finding follows from what is no sign of it, cross-validated by patient group"
    return _measures_table("a classifier that sees only", measures, caption)


def embedding_table(embedding: EmbeddingAudit) -> Table:
    """Return what the embedding tells of films beside their finding."""
    measures = dict(embedding.tells)
    measures |= {f"source, among films of {name}": one for name, one in embedding.within.items()}
    caption = "What the embedding tells, by a linear discriminant, cross-validated by patient group"
    return _measures_table("the embedding tells", measures, caption)


def _measures_table(head: str, measures: Mapping[str, Measure], caption: str) -> Table:
    rows: list[tuple[str, ...]] = []
    below: dict[str, list[str]] = {}
    for name, measure in measures.items():
        number = measure.number
        told: tuple[str, ...] = (UNKNOWN, "", "", "")
        if number.mean is not None:
            chance = percent(measure.chance or 0)
            told = (percent(number.mean), interval_text(number.ci95), chance, f"{measure.n_films:,}")
        rows.append((name, *told))
        for why in (number.reason, *measure.notes):
            below.setdefault(why or "", []).append(name)
    below.pop("", None)
    n_rows = len(rows)
    open_rows = tuple(("each" if len(names) == n_rows > 1 else "; ".join(names), why) for why, names in below.items())
    return Table((head, "balanced accuracy", "95 % interval", "chance", "films"), tuple(rows), caption, open_rows)


def counts_table(counts: Mapping[str, Mapping[str, int]], caption: str, *, most_columns: int = 6) -> Table:
    """Return films by finding and something else, the most frequent columns first, the rest summed."""
    totals: Counter[str] = Counter()
    for row in counts.values():
        totals.update(row)
    names = sorted(totals, key=lambda name: (-totals[name], name))
    shown, others = names[:most_columns], names[most_columns:]
    columns = ("finding", *shown, *(("others",) if others else ()))
    rows = []
    for finding, row in counts.items():
        cells = [row.get(name, 0) for name in shown] + ([sum(row.get(name, 0) for name in others)] if others else [])
        rows.append((finding, *(f"{cell:,}" for cell in cells)))
    return Table(columns, tuple(rows), caption)


def v_text(measure: Measure) -> str:
    """Return Cramer's V in words."""
    if measure.number.mean is None:
        return measure.number.reason or UNKNOWN
    corrected = "" if measure.corrected is None else f", {measure.corrected:.2f} without what chance gives"
    return f"Cramer's V {measure.number.mean:.2f}{corrected} (1 is complete), {measure.n_films:,} films"
