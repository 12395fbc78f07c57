"""The demo's page and pictures: the story in words, then its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_cxr.data import read_gray
from fewshot_cxr.evaluation import Result
from fewshot_cxr.inference import Prediction
from fewshot_cxr.records import Record, Records
from fewshot_cxr.report import Section, prediction_section, render_page, samples_section, save_figure
from fewshot_cxr.report.episode_words import interval_kind
from fewshot_cxr.report.run_page import PageParts, run_page
from fewshot_cxr.report.run_sections import ShownResult, ShownRun
from fewshot_cxr.report.tables import interval_text, shown_interval, value_text
from fewshot_cxr.storage import write_json
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
class DemoResults:
    """The test films judged in episodes, and once each by the exemplars; and how."""

    episodes: Result
    closed_set: Result
    made_by: Mapping[str, Any]

    def shown(self) -> tuple[ShownResult, ...]:
        """Return both as a page shows them."""
        return tuple(ShownResult("demo", result, self.made_by) for result in (self.episodes, self.closed_set))

    def write(self, out: Path) -> None:
        """Write both as JSON, for `fscxr report`, `plot` and `compare`."""
        write_json(out / "episodes.json", self.episodes.to_json() | {"made_by": self.made_by})
        write_json(out / "closed_set.json", self.closed_set.to_json() | {"made_by": self.made_by})


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
    results: DemoResults,
    prediction: Prediction,
    trained: TrainedEncoder,
    films: DemoFilms,
    sections: Sequence[Section],
    *,
    new_finding: str,
    n_shot: int,
) -> str:
    """Return the page as HTML: the story, then all that `fscxr report` shows of a run.

    Args:
        results: of the test films.
        prediction: of the film that was asked.
        trained: the encoder with its card and history.
        films: to show.
        sections: that need the films' embeddings.
        new_finding: which the encoder was not trained on.
        n_shot: films of it.
    """
    episodes, known = results.episodes, trained.card["findings"]
    recall = episodes.per_class_recall[new_finding]
    interval = f"95 % {interval_kind(episodes)}: {interval_text(shown_interval(recall))}"
    asked = prediction_section(
        prediction, films.asked_image(), films.exemplar_images(prediction), true_finding=films.asked.finding
    )
    parts = PageParts(
        runs=(ShownRun("the demo's encoder", trained.card, history=tuple(trained.history), made_by=results.made_by),),
        results=results.shown(),
        films=(*sections, samples_section(films.samples())),
    )
    page = run_page(parts, title="A new finding, five films")
    lead = (
        f"An encoder was trained on {len(known)} findings: {', '.join(known)}.",
        f"Then a new one arrived, {new_finding}, with {n_shot} labelled films. Nothing was trained again.",
        f"In episodes with all {episodes.asked.n_way} findings and {n_shot} films of each, {value_text(recall)} of the "
        f"films of the new finding were recognised ({interval}).",
    )
    return render_page(
        replace(page, lead=lead, cautions=(*_CAUTIONS, *page.cautions), sections=(asked, *page.sections))
    )


def save_figures(
    episodes: Result, prediction: Prediction, trained: TrainedEncoder, films: DemoFilms, folder: Path
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
