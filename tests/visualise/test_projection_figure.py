from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib import _pylab_helpers
from matplotlib.collections import PathCollection
from seen_figures import words

from fewshot_cxr.visualise.groups import MARKS
from fewshot_cxr.visualise.projection import project
from fewshot_cxr.visualise.projection_figure import projection_figure, projections_figure
from fewshot_cxr.visualise.style import THEMES, Figure, looks_of

VECTORS = np.random.default_rng(0).standard_normal((40, 6))
PLANE = project(VECTORS, method="pca")
FINDINGS = ["covid19", "normal", "normal", "effusion"] * 10


def legends(figure):
    return [[text.get_text() for text in legend.get_texts()] for legend in figure.findobj(matplotlib.legend.Legend)]


def hues(figure):
    """Every colour of marks with the number of marks, over all panels."""
    clouds = figure.findobj(PathCollection)
    return [(matplotlib.colors.to_hex(cloud.get_facecolor()[0]), len(cloud.get_offsets())) for cloud in clouds]


@pytest.mark.parametrize("theme", sorted(THEMES))
def test_every_film_is_drawn_and_every_group_named(theme):
    before = dict(matplotlib.rcParams)
    figure = projection_figure(PLANE, FINDINGS, title="T", theme=theme)
    assert isinstance(figure, Figure)
    assert dict(matplotlib.rcParams) == before
    assert not _pylab_helpers.Gcf.figs, "pyplot knows of a figure"
    assert figure.get_figwidth() == 6.5
    assert {"T", "finding"} <= set(words(figure))
    assert legends(figure) == [["covid19 (10)", "effusion (10)", "normal (20)"]]
    assert sorted(n_films for _, n_films in hues(figure)) == [10, 10, 20]
    assert len({hue for hue, _ in hues(figure)}) == 3
    assert not any(axes.get_xticks().size or axes.get_yticks().size for axes in figure.axes)


def test_the_numbers_are_printed_with_what_they_mean():
    text = " ".join(words(projection_figure(PLANE, FINDINGS)))
    assert f"trustworthiness {PLANE.trustworthiness:.2f}, silhouette " in text
    assert "Trustworthiness: 1 where films that lie side by side here are alike to the encoder, too." in text
    assert "% of the variance across" in text
    assert "Only who lies beside whom" not in text, "of PCA, directions have a meaning"
    assert "silhouette unknown (one group)" in " ".join(words(projection_figure(PLANE, ["a"] * 40)))
    assert "silhouette unknown (a group per film)" in " ".join(words(projection_figure(PLANE, range(40))))


def test_of_tsne_it_says_that_axes_mean_nothing_and_what_was_changed():
    plane = project(VECTORS, method="tsne", max_iter=250)
    text = " ".join(" ".join(words(projection_figure(plane, FINDINGS))).split())
    assert "axes, places and gaps between groups have none" in text
    assert "t-SNE of 40 films by euclidean distance, perplexity 13, seed 0." in text
    assert "40 films are few for t-SNE: perplexity 13 in place of 30." in text


def test_of_many_groups_the_largest_are_named_and_the_rest_is_said():
    patients = [9, 10] * 5 + list(range(11, 41))
    figure = projection_figure(PLANE, patients, group_name="patient")
    (legend,) = legends(figure)
    assert legend[:3] == ["9 (5)", "10 (5)", "11 (1)"]
    assert legend[-1] == "17 others (17 films)"
    assert len(legend) == 16
    assert sum(n_films for _, n_films in hues(figure)) == 40


def test_what_is_not_stated_is_a_group():
    assert legends(projection_figure(PLANE, ["", None] * 20)) == [["not stated (40)"]]


def test_panels_of_the_same_groups_share_colours_and_one_legend():
    other = project(VECTORS[::-1], method="pca")
    figure = projections_figure([("before", PLANE, FINDINGS), ("after", other, FINDINGS)], title="T")
    assert legends(figure) == [["covid19 (10)", "effusion (10)", "normal (20)"]]
    assert {"before", "after", "T"} <= set(words(figure))
    assert len({hue for hue, _ in hues(figure)}) == 3
    assert len(hues(figure)) == 6


def test_panels_of_the_same_groups_in_other_numbers_name_no_number():
    fewer = project(VECTORS[:20], method="pca")
    figure = projections_figure([("train", PLANE, FINDINGS), ("test", fewer, FINDINGS[:20])])
    assert legends(figure) == [["covid19", "effusion", "normal"]]


def test_panels_of_other_groups_have_their_own_legends_and_colours():
    sources = ["nih", "ieee8023"] * 20
    figure = projections_figure([("finding", PLANE, FINDINGS), ("source", PLANE, sources), ("one", PLANE, ["x"] * 40)])
    assert sorted(legends(figure)) == [
        ["covid19 (10)", "effusion (10)", "normal (20)"],
        ["ieee8023 (20)", "nih (20)"],
        ["x (40)"],
    ]
    looks = [
        (*cloud.get_facecolor()[0], cloud.get_paths()[0].vertices.tobytes()) for cloud in figure.findobj(PathCollection)
    ]
    assert len(set(looks)) == 6


def test_wrong_panels_are_refused():
    with pytest.raises(ValueError, match=r"^panels must be 1 to 4, got 0$"):
        projections_figure([])
    with pytest.raises(ValueError, match=r"^panels must be 1 to 4, got 5$"):
        projections_figure([("", PLANE, FINDINGS)] * 5)
    with pytest.raises(ValueError, match=r"^each film needs a group, got 3 groups for 40 films$"):
        projection_figure(PLANE, ["a"] * 3)
    with pytest.raises(ValueError, match="unknown theme"):
        projection_figure(PLANE, FINDINGS, theme="drak")


@pytest.mark.parametrize("theme", sorted(THEMES))
def test_groups_are_told_apart_by_more_than_colour(theme):
    pairs = looks_of(THEMES[theme], MARKS, 84)
    assert len(set(pairs)) == 84
    assert all(one[0] != other[0] and one[1] != other[1] for one, other in pairwise(pairs))
