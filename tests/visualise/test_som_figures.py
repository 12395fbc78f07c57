import matplotlib
import numpy as np
import pytest
from matplotlib import _pylab_helpers
from matplotlib.collections import PathCollection
from seen_figures import words

from fewshot_cxr.visualise.som import Som, cell_distances, train_som
from fewshot_cxr.visualise.som_figures import som_distance_figure, som_hits_figure
from fewshot_cxr.visualise.style import THEMES, Figure

SOM = train_som(np.random.default_rng(0).standard_normal((40, 5)), grid=(4, 5), n_epochs=2)
FINDINGS = ["covid19", "normal", "normal", "effusion"] * 10
DRAWN = {
    "hits": lambda **how: som_hits_figure(SOM, FINDINGS, **how),
    "distances": lambda **how: som_distance_figure(SOM, **how),
}


def sentences(figure):
    return " ".join(" ".join(words(figure)).split())


def legend(figure):
    return [text.get_text() for each in figure.findobj(matplotlib.legend.Legend) for text in each.get_texts()]


def areas(figure):
    return [float(cloud.get_sizes()[0]) for cloud in figure.findobj(PathCollection) if len(cloud.get_offsets()) == 1]


def made(winners, shape=(2, 3)):
    weights = np.random.default_rng(0).standard_normal((*shape, 2))
    return Som(weights, np.array(winners, dtype=np.int64), 0.5, 0.25, {"distance": "euclidean"})


@pytest.mark.parametrize("theme", sorted(THEMES))
@pytest.mark.parametrize("name", sorted(DRAWN))
def test_a_figure_keeps_the_contract(name, theme):
    before = dict(matplotlib.rcParams)
    figure = DRAWN[name](title="T", theme=theme)
    assert isinstance(figure, Figure)
    assert dict(matplotlib.rcParams) == before
    assert not _pylab_helpers.Gcf.figs, "pyplot knows of a figure"
    assert figure.get_figwidth() == 6.5
    assert "T" in words(figure)
    assert matplotlib.colors.to_hex(figure.get_facecolor()) == THEMES[theme].paper
    assert f"{SOM.quantisation_error:.3g} from their cell on average (quantisation error)" in sentences(figure)


def test_cells_show_majority_share_and_ties():
    som = made([(0, 0)] * 4 + [(0, 1)] * 2 + [(1, 2)])
    figure = som_hits_figure(som, ["normal"] * 3 + ["effusion"] + ["effusion", "normal"] + ["effusion"])
    assert legend(figure) == ["effusion", "normal", "tied"]
    assert {"75", "50", "100", "finding"} <= set(words(figure))
    full, tied, single = areas(figure)
    assert full > tied > single
    assert "the more films (1 to 4)" in sentences(figure)
    (empty,) = [cloud for cloud in figure.findobj(PathCollection) if len(cloud.get_offsets()) == 3]
    assert sorted(map(tuple, empty.get_offsets())) == [(0, 1), (1, 1), (2, 0)]


def test_a_finding_that_has_no_cell_is_named():
    som = made([(0, 0)] * 3)
    figure = som_hits_figure(som, ["normal", "normal", "effusion"], group_name="source")
    assert legend(figure) == ["normal"]
    assert "The most in no cell: effusion." in sentences(figure)
    assert "A mark is the source of most films" in sentences(figure)


def test_of_many_findings_the_small_ones_are_grey():
    winners = [(0, column) for column in range(17)]
    figure = som_hits_figure(made([*winners, *winners[:15]], (1, 17)), [*range(17), *range(15)])
    assert legend(figure) == [*map(str, range(15)), "other"]


def test_a_fine_grid_shows_the_share_as_shade():
    som = made([(0, 0)] * 4 + [(0, 1)] * 4, (1, 30))
    figure = som_hits_figure(som, ["normal"] * 7 + ["effusion"])
    assert "paler where their share is smaller" in sentences(figure)
    assert "75" not in words(figure)
    clouds = [cloud for cloud in figure.findobj(PathCollection) if len(cloud.get_offsets()) == 1]
    whole, mixed = (cloud.get_facecolor()[0][:3].sum() for cloud in clouds)
    assert mixed > whole, "on light paper, paler is lighter"


def test_the_u_matrix_is_what_is_drawn():
    figure = som_distance_figure(SOM)
    (shades,) = figure.axes[0].images
    assert np.array_equal(shades.get_array(), cell_distances(SOM))
    assert len(figure.axes) == 2, "the map and its colour bar"


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"^each film needs a group, got 1 groups for 40 films$"):
        som_hits_figure(SOM, ["a"])
    for name in DRAWN:
        with pytest.raises(ValueError, match="unknown theme 'drak'"):
            DRAWN[name](theme="drak")
