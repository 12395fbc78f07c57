"""The kinds of figures by name: what each is drawn from, and which options it heeds."""

from collections.abc import Callable
from dataclasses import dataclass

from fewshot_cxr.visualise import Figure
from fewshot_cxr.workflows.plots import films, maps, results
from fewshot_cxr.workflows.plots.inputs import PlotInputs, PlotOptions

RESULT, HISTORY, FILMS, EMBEDDINGS = "result", "history", "films", "embeddings"
MAKES = {
    RESULT: "a result: `fscxr evaluate --json FILE` or `fscxr episode-eval --json FILE` writes one",
    HISTORY: "a training: `fscxr train --out RUN` writes RUN/history.csv",
    FILMS: "films: a manifest CSV, an image folder, or NAME:PATH (`fscxr data read --help`)",
    EMBEDDINGS: "embeddings: `fscxr embed --out FILE.safetensors` writes them, or name --checkpoint and --data",
}


@dataclass(frozen=True)
class PlotKind:
    """A kind of figure: what it is drawn from (a key of MAKES), how, what it shows, and the options it heeds.

    `explore` makes an interactive page of the same, as HTML, where there is one.
    """

    source: str
    draw: Callable[[PlotInputs, PlotOptions], Figure]
    shows: str
    heeds: tuple[str, ...] = ()
    explore: Callable[[PlotInputs, PlotOptions], str] | None = None


MAPS = ("projection", "som", "som-distance")
_NEAR = ("distance", "queries")
PLOTS: dict[str, PlotKind] = {
    "confusion": PlotKind(RESULT, results.draw_confusion, "where the films of each finding went"),
    "recall": PlotKind(RESULT, results.draw_recall, "accuracy and recalls with intervals and baselines"),
    "roc": PlotKind(RESULT, results.draw_roc, "each finding against the rest, at every threshold"),
    "pr": PlotKind(RESULT, results.draw_pr, "precision over sensitivity of each finding"),
    "reliability": PlotKind(RESULT, results.draw_reliability, "how far probabilities may be believed"),
    "risk-coverage": PlotKind(RESULT, results.draw_risk_coverage, "what answering fewer films gains"),
    "learning": PlotKind(HISTORY, films.draw_learning, "loss and accuracy by epoch, with the best"),
    "class-counts": PlotKind(FILMS, films.draw_class_counts, "films of each finding in each split"),
    "samples": PlotKind(FILMS, films.draw_samples, "some films of each finding", ("seed",)),
    "neighbours": PlotKind(EMBEDDINGS, films.draw_neighbours, "films beside their nearest", ("seed", *_NEAR)),
    "ranks": PlotKind(EMBEDDINGS, films.draw_ranks, "a film beside exemplars, by distance", ("seed", *_NEAR)),
    "projection": PlotKind(
        EMBEDDINGS,
        maps.draw_projection,
        "all films in the plane",
        ("seed", "method", "colour", "before", "distance"),
        maps.explore_projection,
    ),
    "som": PlotKind(EMBEDDINGS, maps.draw_som, "self-organising map: majorities", ("seed", "colour", "distance")),
    "som-distance": PlotKind(EMBEDDINGS, maps.draw_som_distance, "self-organising map: gaps", ("seed", "distance")),
}
