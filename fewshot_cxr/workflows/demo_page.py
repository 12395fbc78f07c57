"""The demo's page and pictures: the story in words, then its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_cxr import report
from fewshot_cxr.evaluation import Result
from fewshot_cxr.inference import Prediction
from fewshot_cxr.records import Records
from fewshot_cxr.report.episode_words import interval_kind
from fewshot_cxr.report.result_figures import draw_confusion
from fewshot_cxr.report.run_page import PageParts, run_page
from fewshot_cxr.report.run_sections import ShownResult, ShownRun
from fewshot_cxr.report.sections import draw_prediction
from fewshot_cxr.report.tables import interval_text, shown_interval, value_text
from fewshot_cxr.training import TrainedEncoder
from fewshot_cxr.visualise import sample_grid_figure
from fewshot_cxr.workflows.demo_bank import BankStory, bank_section, named_films

_SAMPLES_PER_FINDING = 5
_CAUTIONS = (
    "The films are synthetic: the numbers show that the parts work together, and say nothing of patients.",
    "The interval over patients says where a number would lie with other drawn patients of the same kind and this same "
    "encoder. It does not cover another hospital.",
    "Split by patient: no patient is in two parts, nor in both support and query. The scanner (the source) is drawn "
    "without regard to the finding, so here the two are not confounded.",
)


@dataclass(frozen=True, eq=False, kw_only=True)
class DemoStory:
    """What the demo tells.

    Args:
        trained: the encoder with its card and history.
        results: of the test films: "episodes", and "closed_set", once each by the exemplars.
        made_by: how.
        prediction: of one film that was asked.
        true_finding: of that film.
        test: the test films.
        exemplars: the films that it was compared with.
        bank: what a support bank answered.
    """

    trained: TrainedEncoder
    results: Mapping[str, Result]
    made_by: Mapping[str, Any]
    prediction: Prediction
    true_finding: str
    test: Records
    exemplars: Records
    bank: BankStory

    def samples(self) -> dict[str, list[np.ndarray]]:
        """Return some films of each finding."""
        paths: dict[str, list[str]] = {name: [] for name in self.test.findings}
        for film in self.test:
            paths[film.finding].append(film.path)
        return {name: named_films(self.test, some[:_SAMPLES_PER_FINDING]) for name, some in paths.items()}

    def asked(self) -> tuple[Prediction, np.ndarray, list[np.ndarray]]:
        """Return the prediction, the film that was asked, and its exemplars, closest first."""
        exemplars = [exemplar.path for exemplar in self.prediction.exemplars]
        (asked,) = named_films(self.test, [self.prediction.path])
        return self.prediction, asked, named_films(self.exemplars, exemplars)


def demo_page(story: DemoStory, sections: Sequence[report.Section], *, new_finding: str, n_shot: int) -> str:
    """Return the page as HTML: the story, then all that `fscxr report` shows of a run.

    Args:
        story: what is told.
        sections: that need the films' embeddings.
        new_finding: which the encoder was not trained on.
        n_shot: films of it.
    """
    episodes, card, made_by = story.results["episodes"], story.trained.card, story.made_by
    recall = episodes.per_class_recall[new_finding]
    interval = f"95 % {interval_kind(episodes)}: {interval_text(shown_interval(recall))}"
    parts = PageParts(
        runs=(ShownRun("the demo's encoder", card, history=tuple(story.trained.history), made_by=made_by),),
        results=tuple(ShownResult("demo", result, made_by) for result in story.results.values()),
        films=tuple(sections),
    )
    page = run_page(parts, title="A new finding, five films")
    lead = (
        f"Can a finding that the encoder was never trained on, {new_finding}, be recognised after {n_shot} labelled "
        f"films of it, among {', '.join(card['findings'])}?",
    )
    headlines = (
        report.Headline(value_text(recall), "of the films of the new finding are recognised", interval),
        *report.episodic_headlines(episodes),
    )
    asked = report.prediction_section(*story.asked(), true_finding=story.true_finding)
    asked = replace(asked, folded=(report.samples_section(story.samples(), heading="Some films of each finding"),))
    page = replace(page, lead=lead, headlines=headlines, cautions=(*_CAUTIONS, *page.cautions))
    return report.render_page(replace(page, sections=(asked, bank_section(story.bank), *page.sections)))


def save_figures(story: DemoStory, folder: Path) -> None:
    """Write the pictures of the page as files too."""
    figures = {
        "confusion": draw_confusion(story.results["episodes"])(),
        "films": sample_grid_figure(story.samples(), theme="dark"),
        "prediction": draw_prediction(*story.asked())(),
    }
    for name, figure in figures.items():
        report.save_figure(figure, folder / f"{name}.png")
