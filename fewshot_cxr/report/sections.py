"""Sections of a page from result values: one prediction, training, sample films."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from fewshot_cxr.inference.prediction import Prediction
from fewshot_cxr.report.html import Section
from fewshot_cxr.report.pictures import Picture, figure_jpeg
from fewshot_cxr.visualise import Figure, exemplar_figure, learning_curves_figure, sample_grid_figure


def draw_prediction(
    prediction: Prediction, query_image: np.ndarray, exemplar_images: Sequence[np.ndarray]
) -> Callable[..., Figure]:
    """Draw a film beside its nearest exemplars; arguments as for `prediction_section`."""
    return partial(
        exemplar_figure,
        query_image,
        prediction.path,
        exemplar_images,
        [(exemplar.finding, exemplar.distance) for exemplar in prediction.exemplars],
        mean_distances=prediction.distances,
    )


def prediction_section(
    prediction: Prediction,
    query_image: np.ndarray,
    exemplar_images: Sequence[np.ndarray],
    *,
    true_finding: str | None = None,
    heading: str = "One film and the films it was compared with",
) -> Section:
    """Show a film, its nearest exemplars and its distance to each finding.

    Args:
        prediction: of `predict`.
        query_image: the film, uint8 (H, W).
        exemplar_images: one for each of `prediction.exemplars`, in their order.
        true_finding: said beside the decision, where it is known.
        heading: of the section.
    """
    decided = " or ".join(prediction.findings)
    told = "" if true_finding is None else f" Its label says {true_finding}."
    picture = Picture.drawn(
        draw_prediction(prediction, query_image, exemplar_images),
        alt=f"{prediction.path}, its {len(exemplar_images)} nearest exemplars; distances: {_ranked(prediction)}.",
        caption="Distances are in the unit of the embedding; they are no probabilities.",
        form="jpeg",
    )
    return Section(heading, (f"Nearest finding: {decided}.{told}", *prediction.notes), (picture,))


def training_section(history: Sequence[Mapping[str, float]], heading: str = "How the encoder learnt") -> Section:
    """Show loss and validation accuracy by epoch."""
    first, last = history[0], history[-1]
    picture = Picture.drawn(
        partial(learning_curves_figure, history),
        alt=f"Curves over {len(history)} epochs: training loss goes from {first['loss']:.3g} to {last['loss']:.3g}.",
        caption="The star marks the epoch whose encoder was kept." if "val_accuracy" in first else "",
    )
    return Section(heading, pictures=(picture,))


def samples_section(rows: Mapping[str, Sequence[np.ndarray]], heading: str = "The films") -> Section:
    """Show sample films of each finding, on dark as on a light box."""
    # One theme only: two copies of many films would make the page heavy.
    image = figure_jpeg(sample_grid_figure(rows, theme="dark"))
    return Section(heading, pictures=(Picture(image, alt=f"Sample films of {', '.join(rows)}."),))


def _ranked(prediction: Prediction) -> str:
    ranked = sorted(prediction.distances.items(), key=lambda item: item[1])
    return ", ".join(f"{name} {distance:.4f}" for name, distance in ranked)
