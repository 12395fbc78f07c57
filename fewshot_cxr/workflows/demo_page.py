"""The demo's page and pictures: the story in words, then its numbers."""

import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewshot_cxr.data import read_gray
from fewshot_cxr.evaluation import EpisodicResult
from fewshot_cxr.inference import Prediction
from fewshot_cxr.records import Record, Records
from fewshot_cxr.report import (
    Page,
    Section,
    accuracy_section,
    confusion_section,
    episodic_headlines,
    prediction_section,
    protocol_facts,
    recall_section,
    render_page,
    samples_section,
    save_figure,
    training_section,
)
from fewshot_cxr.report.episode_words import interval_kind
from fewshot_cxr.report.tables import interval_text, shown_interval, value_text
from fewshot_cxr.training import TrainedEncoder
from fewshot_cxr.visualise import (
    confusion_matrix_figure,
    exemplar_figure,
    learning_curves_figure,
    sample_grid_figure,
)

_SAMPLES_PER_FINDING = 5
_CAUTIONS = (
    "The films are drawn, not taken: the numbers show that the parts work together, and say nothing of patients.",
    "The interval over patients says where a number would lie with other drawn patients of the same kind and this same "
    "encoder. It covers neither another training nor another hospital.",
    "Split by patient: no patient is in two parts, nor in both support and query. The scanner (the source) is drawn "
    "without regard to the finding, so here the two are not confounded.",
)


@dataclass(frozen=True)
class DemoFilms:
    """The films that the page shows: the test set, the one that was asked, and its exemplars."""

    test: Records
    asked: Record
    exemplars: Records

    def samples(self) -> dict[str, list[np.ndarray]]:
        """Return some films of each finding."""
        return {
            name: [
                read_gray(self.test.file(film))
                for film in self.test.where(lambda film, name=name: film.finding == name)[:_SAMPLES_PER_FINDING]  # type: ignore[misc]  # mypy loses the default's type
            ]
            for name in self.test.findings
        }

    def asked_image(self) -> np.ndarray:
        """Return the film that was asked."""
        return read_gray(self.test.file(self.asked))

    def exemplar_images(self, prediction: Prediction) -> list[np.ndarray]:
        """Return the exemplars of a prediction, closest first."""
        by_path = {film.path: film for film in self.exemplars}
        return [read_gray(self.exemplars.file(by_path[exemplar.path])) for exemplar in prediction.exemplars]


def demo_page(
    episodes: EpisodicResult,
    prediction: Prediction,
    trained: TrainedEncoder,
    films: DemoFilms,
    *,
    new_finding: str,
    n_shot: int,
) -> str:
    """Return the page as HTML."""
    known = trained.card["findings"]
    recall = episodes.per_class_recall[new_finding]
    interval = f"95 % {interval_kind(episodes)}: {interval_text(shown_interval(recall))}"
    page = Page(
        title="A new finding, five films",
        lead=(
            f"An encoder was trained on {len(known)} findings: {', '.join(known)}.",
            f"Then a new one arrived, {new_finding}, with {n_shot} labelled films. Nothing was trained again.",
            f"In episodes with all {episodes.n_way} findings and {n_shot} films of each, {value_text(recall)} of the "
            f"films of the new finding were recognised ({interval}).",
        ),
        headlines=episodic_headlines(episodes),
        cautions=(*_CAUTIONS, *episodes.warnings),
        sections=(
            recall_section(episodes),
            accuracy_section(episodes),
            confusion_section(episodes),
            prediction_section(
                prediction, films.asked_image(), films.exemplar_images(prediction), true_finding=films.asked.finding
            ),
            training_section(trained.history),
            samples_section(films.samples()),
            Section("How this was made", facts=(*protocol_facts(episodes), *_facts(trained))),
        ),
    )
    return render_page(page)


def save_figures(
    episodes: EpisodicResult, prediction: Prediction, trained: TrainedEncoder, films: DemoFilms, folder: Path
) -> None:
    """Write the pictures of the page as files too."""
    exemplars = [(exemplar.finding, exemplar.distance) for exemplar in prediction.exemplars]
    figures = {
        "confusion": confusion_matrix_figure(np.asarray(episodes.confusion), episodes.findings),
        "learning": learning_curves_figure(trained.history),
        "films": sample_grid_figure(films.samples(), theme="dark"),
        "prediction": exemplar_figure(
            films.asked_image(),
            films.asked.path,
            films.exemplar_images(prediction),
            exemplars,
            mean_distances=prediction.distances,
        ),
    }
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.png")


def _facts(trained: TrainedEncoder) -> tuple[tuple[str, str], ...]:
    card = trained.card
    counts = ", ".join(f"{part} {n}" for part, n in card["n_films"].items())
    return (
        (
            "encoder",
            f"{card['encoder']['encoder']}, {card['image_spec']['size_px']} px, loss {card['training']['loss']}",
        ),
        ("films trained on", counts),
        ("best epoch", f"{card['best_epoch']} of {len(trained.history)}, by episodes on validation patients"),
        ("versions", ", ".join(f"{name} {number}" for name, number in card["versions"].items())),
        ("machine", f"{platform.system()} {platform.machine()}"),
        ("command", "fscxr demo --seed " + str(card["training"]["seed"])),
    )
