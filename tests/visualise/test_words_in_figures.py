"""In no figure do words lie over other words or leave the paper, whatever the findings are called and how many."""

from functools import cache

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from fewshot_cxr.visualise import (
    FocusBar,
    HeatTile,
    NeighbourRow,
    class_counts_figure,
    confusion_matrix_figure,
    exemplar_figure,
    focus_figure,
    heat_sheet_figure,
    neighbours_figure,
    ppv_figure,
    pr_figure,
    project,
    projection_figure,
    rank_table_figure,
    recall_figure,
    reliability_figure,
    roc_figure,
    sample_grid_figure,
    som_hits_figure,
    train_som,
)
from fewshot_cxr.visualise.episode_figure import QueryTile, episode_figure

pytestmark = pytest.mark.slow

FILM = np.zeros((16, 16), dtype=np.uint8)
NAMES = (
    "peripheral_ground_glass",
    "normal",
    "Pleural effusion with consolidation of both lower lobes",
    "WWWW_MMMM WWWW",
)
CURVE = (np.array([0, 0.2, 1]), np.array([0, 0.8, 1]), (0.812, (0.701, 0.888)))
READING = (0.8123, (0.701, 0.8888))
BINS = ((0.4, 0.1, 0.9), (0.6, 0.95, 0.9))


def called(n):
    """Findings with names of any length, all different."""
    return [NAMES[place % 4] if place < 4 else f"{NAMES[place % 4]} {place}" for place in range(n)]


@cache
def vectors(n):
    return np.random.default_rng(0).normal(size=(4 * n, 5)) + np.repeat(np.arange(4), n)[:, None]


def episode(names):
    tiles = [
        QueryTile(FILM, name, (names[(place + place % 2) % len(names)],), dict.fromkeys(names, 0.12345))
        for place, name in enumerate((names * 16)[:16])
    ]
    return episode_figure({name: [FILM] * 5 for name in names}, tiles, title="Worst episode, number 1,234: 1.0 % right")


FIGURES = {
    "class counts": lambda names: class_counts_figure(
        {s: dict.fromkeys(names, 1234) for s in ("train", "val", "test")}
    ),
    "confusion": lambda names: confusion_matrix_figure(np.full((len(names),) * 2, 1234.5), names),
    "episode": episode,
    "exemplars": lambda names: exemplar_figure(
        FILM,
        "a/long/path/of/one.png",
        [FILM] * 6,
        [(name, 0.12345) for name in (names * 6)[:6]],
        mean_distances=dict.fromkeys(names, 0.12345),
    ),
    "focus": lambda names: focus_figure(
        [FocusBar(name, *READING, 0.3, 1234) for name in names], measure="in the lungs"
    ),
    "heat sheet": lambda names: heat_sheet_figure(
        [HeatTile(FILM, np.ones((16, 16), dtype=np.float32), f"{name}\ntaken for {name} 0.1234") for name in names]
    ),
    "neighbours": lambda names: neighbours_figure(
        [NeighbourRow(FILM, f"folder/{name}.png", name, [(FILM, name, 0.12345)] * 6) for name in names[:12]]
    ),
    "ppv": lambda names: ppv_figure(
        [(share, (0.5, None), (0.75, (0.7, 0.8))) for share in (0.001, 0.02, 0.5)],
        finding=names[0],
        marked=dict(zip(names[-3:], (0.002, 0.02, 0.021), strict=False)),
        title="What a call is worth",
    ),
    "precision": lambda names: pr_figure(dict.fromkeys(names, CURVE), chance=dict.fromkeys(names, 0.25)),
    "projection": lambda names: projection_figure(
        project(vectors(20), method="pca"), [names[place % len(names)] for place in range(80)]
    ),
    "ranks": lambda names: rank_table_figure(
        FILM,
        "a/long/path/of/one.png",
        [(FILM, name, 0.12345) for name in (names * 60)[:60]],
        dict.fromkeys(names, 0.12345),
        truth=names[0],
        decision=names[-1],
        n_exemplars=100,
    ),
    "recall": lambda names: recall_figure(
        dict.fromkeys(names, READING),
        READING,
        baselines={"baseline: pixels": 0.6, "baseline: border": 0.5},
        chance=0.25,
    ),
    "reliability": lambda names: reliability_figure({"as the rule gives them": BINS, "at temperature 0.0123": BINS}),
    "roc": lambda names: roc_figure(dict.fromkeys(names, CURVE)),
    "samples": lambda names: sample_grid_figure({name: [FILM] * 5 for name in names}),
    "som": lambda names: som_hits_figure(
        train_som(vectors(20), grid=(4, 4), seed=0, n_epochs=2), [names[place % len(names)] for place in range(80)]
    ),
}


@pytest.fixture
def drawn(monkeypatch):
    """Every text that is drawn: ticks beyond a scale, and what is hidden, are not."""
    texts, draw = [], Text.draw

    def draw_and_note(self, renderer):
        draw(self, renderer)
        # The box of words that lean is larger than they are.
        if self.get_visible() and not self.get_rotation() % 90 and self.get_text().strip():
            texts.append((self.get_text(), *self.get_window_extent(renderer).extents.tolist()))

    monkeypatch.setattr(Text, "draw", draw_and_note)
    return texts


@pytest.mark.parametrize("n_findings", [2, 6, 12, 20])
@pytest.mark.parametrize("name", sorted(FIGURES))
def test_words_lie_beside_each_other_and_on_the_paper(drawn, name, n_findings):
    figure = FIGURES[name](called(n_findings))
    width, height = figure.bbox.width, figure.bbox.height
    drawn.clear()
    FigureCanvasAgg(figure).draw()
    outside = [box for box in drawn if box[1] < -1 or box[2] < -1 or box[3] > width + 1 or box[4] > height + 1]
    assert not outside, (width, height, outside)
    for place, (text, left, low, right, high) in enumerate(drawn):
        for other, left2, low2, right2, high2 in drawn[:place]:
            across, up = min(right, right2) - max(left, left2), min(high, high2) - max(low, low2)
            assert across < 2 or up < 3, (text, other, across, up)
