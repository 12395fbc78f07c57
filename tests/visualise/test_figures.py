import io
from functools import partial

import matplotlib
import numpy as np
import pytest
from matplotlib import _pylab_helpers
from seen_figures import assert_nothing_leaves, words

from fewshot_cxr.visualise import (
    THEMES,
    Figure,
    class_counts_figure,
    confusion_matrix_figure,
    exemplar_figure,
    learning_curves_figure,
    ppv_figure,
    pr_figure,
    rank_table_figure,
    recall_figure,
    reliability_figure,
    risk_coverage_figure,
    roc_figure,
    sample_grid_figure,
)

FILM = np.arange(30 * 20, dtype=np.uint16).reshape(30, 20).astype(np.uint8)
HISTORY = [
    {"epoch": 1.0, "loss": 0.9, "val_accuracy": 0.5, "lr": 0.1},
    {"epoch": 2.0, "loss": 0.5, "val_accuracy": 0.75, "lr": 0.1},
    {"epoch": 3.0, "loss": 0.4, "val_accuracy": 0.75, "lr": 0.1},
]
FULL_HISTORY = [
    row | {"val_loss": 0.7, "accuracy": 0.9, "val_balanced_accuracy": 0.6, "val_auroc": 0.8} for row in HISTORY
]
LINE = ((0.0, 0.25, 1.0), (0.0, 0.75, 1.0), (0.75, (0.6, 0.9)))
COUNTS = {"train": {"normal": 1200, "effusion": 40}, "test": {"effusion": 7}}
BINS = ((0.25, 0.4, 0.5), (0.75, 0.9, 0.875))
WORTH = (
    (0.001, (0.01, (0.005, 0.05)), (1.0, None)),
    (0.02, (0.25, (0.1, 0.5)), (0.99, (0.98, 1.0))),
    (0.5, (0.9, (0.8, 0.95)), (0.8, (0.7, 0.9))),
)
DRAWN = {
    "reliability": partial(reliability_figure, {"before": BINS, "after": BINS[:1]}, title="T"),
    "risk": partial(risk_coverage_figure, ((0.5, 0.1), (1.0, 0.3)), title="T"),
    "confusion": partial(confusion_matrix_figure, np.array([[3, 1], [0, 4]]), ["normal", "effusion"], title="T"),
    "recall": partial(recall_figure, {"normal": (0.75, (0.7, 0.8)), "effusion": (1.0, None)}, (0.8, None), title="T"),
    "curves": partial(learning_curves_figure, HISTORY, title="T"),
    "all curves": partial(learning_curves_figure, FULL_HISTORY, best_epoch=3, title="T"),
    "roc": partial(roc_figure, {"normal": LINE, "effusion": LINE}, title="T"),
    "pr": partial(pr_figure, {"normal": LINE}, chance={"normal": 0.4}, title="T"),
    "ppv": partial(ppv_figure, WORTH, finding="effusion", marked={"stated": 0.02}, title="T"),
    "counts": partial(class_counts_figure, COUNTS, title="T"),
    "ranks": partial(
        rank_table_figure,
        FILM,
        "films/a.png",
        [(FILM, "normal", 0.5)] * 8,
        {"normal": 0.5, "effusion": 0.75},
        title="T",
    ),
    "samples": partial(sample_grid_figure, {"normal": [FILM, FILM], "effusion": [FILM]}, title="T"),
    "exemplars": partial(
        exemplar_figure,
        FILM,
        "films/a.png",
        [FILM] * 4,
        [("normal", 0.5)] * 3 + [("effusion", 0.75)],
        mean_distances={"normal": 0.5, "effusion": 0.75},
        title="T",
    ),
}


def pixels(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", dpi=60)
    return buffer.getvalue()


@pytest.mark.parametrize("theme", sorted(THEMES))
@pytest.mark.parametrize("name", sorted(DRAWN))
@pytest.mark.slow
def test_a_figure_keeps_the_contract(name, theme):
    before = dict(matplotlib.rcParams)
    figure = DRAWN[name](theme=theme)
    assert isinstance(figure, Figure)
    assert dict(matplotlib.rcParams) == before
    assert not _pylab_helpers.Gcf.figs, "pyplot knows of a figure"
    assert "T" in words(figure)
    assert matplotlib.colors.to_hex(figure.get_facecolor()) == THEMES[theme].paper
    assert pixels(figure) == pixels(DRAWN[name](theme=theme))


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_a_title_is_not_needed(name):
    assert "T" not in words(DRAWN[name](title=""))


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_nothing_leaves_the_figure(name):
    assert_nothing_leaves(DRAWN[name]())


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_a_long_title_is_broken(name):
    title = "Half-width ResNet-9 with a triplet loss on CoronaHack, corrected settings, WWWW MMMM"
    figure = DRAWN[name](title=title)
    assert_nothing_leaves(figure)
    assert "".join(figure.get_suptitle().split()) == "".join(title.split())


def test_long_names_stay_in_the_figure():
    names = [
        "peripheral_ground_glass_opacity_with_crazy_paving",
        "pneumonoultramicroscopicsilicovolcanoconiosis",
        "normal",
    ]
    readings = dict.fromkeys(names, (0.5, (0.4, 0.6)))
    distances = dict.fromkeys(names, 123.456)
    assert_nothing_leaves(confusion_matrix_figure(np.eye(3), names))
    assert_nothing_leaves(
        recall_figure(readings, (0.5, None), baselines={"baseline: nearest centroid on pixels": 0.4}, chance=0.3)
    )
    baselines = {f"baseline: nearest centroid on {name}": 0.5 for name in ("pixels", "border", "source")}
    assert_nothing_leaves(recall_figure(readings, (0.5, None), baselines=baselines, chance=0.3))
    assert_nothing_leaves(sample_grid_figure({name: [FILM] * 5 for name in names}))
    assert_nothing_leaves(roc_figure(dict.fromkeys(names, LINE)))
    assert_nothing_leaves(pr_figure(dict.fromkeys(names, LINE), chance=dict.fromkeys(names, 0.5)))
    assert_nothing_leaves(class_counts_figure({"train": dict.fromkeys(names, 123456), "a long split's name": {}}))
    ranked = [(FILM, name, 123.456) for name in names]
    assert_nothing_leaves(rank_table_figure(FILM, "a/" * 40, ranked, distances))
    assert_nothing_leaves(rank_table_figure(FILM, "a/" * 40, ranked * 8, distances))
    titles = [(name, 123.456) for name in names]
    assert_nothing_leaves(exemplar_figure(FILM, "a/" * 40, [FILM] * 3, titles, mean_distances=distances))


def test_confusion_shows_row_per_cent_and_counts():
    counts = np.array([[30, 10, 0], [0, 12345, 0], [0.5, 0, 0.5]])
    axes = confusion_matrix_figure(counts, ["a", "b", "c"]).axes[0]
    cells = [text.get_text() for text in axes.texts]
    assert cells[:6] == ["75.0", "30", "25.0", "10", "0.0", "0"]
    assert cells[8:10] == ["100.0", "12,345"]
    assert cells[12:] == ["50.0", "0.5", "0.0", "0", "50.0", "0.5"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]


def test_a_finding_without_queries_has_no_per_cent():
    axes = confusion_matrix_figure(np.array([[1, 0], [0, 0]]), ["a", "b"]).axes[0]
    assert [text.get_text() for text in axes.texts][4:] == ["unknown", "0", "unknown", "0"]


@pytest.mark.slow
def test_fourteen_findings_fit():
    figure = confusion_matrix_figure(np.eye(14) * 9, [f"finding_{index}" for index in range(14)])
    cells = [text.get_text() for text in figure.axes[0].texts]
    assert len(cells) == 2 * 14 * 14
    assert cells[:4] == ["100", "9", "0", "0"]


@pytest.mark.parametrize(
    ("counts", "findings", "message"),
    [
        (np.ones((2, 3)), ["a", "b"], r"a row and a column for each of 2 findings, got \(2, 3\)"),
        (np.ones((0, 0)), [], r"a row and a column for each of 0 findings"),
        (np.array([[-1.0]]), ["a"], "finite and not negative"),
        (np.array([[np.nan]]), ["a"], "finite and not negative"),
    ],
)
def test_wrong_counts_are_refused(counts, findings, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix_figure(counts, findings)


def test_recall_shows_means_intervals_baselines_and_chance():
    figure = recall_figure(
        {"a": (0.75, (0.7, 0.8)), "b": (1.0, None)},
        (0.8123, (0.8, 0.82)),
        baselines={"baseline: pixels": 0.625},
        chance=0.5,
    )
    found = words(figure)
    assert {"81.2 %  [80.0, 82.0]", "75.0 %  [70.0, 80.0]", "100.0 %"} <= set(found)
    assert {"baseline: pixels 62.5 %", "chance 50.0 %", "accuracy", "a", "b", "20 %"} <= set(found)
    axes = figure.axes[0]
    vertical = [line.get_xdata()[0] for line in axes.lines if line.get_xdata()[0] == line.get_xdata()[-1]]
    assert {0.625, 0.5} <= set(vertical)
    assert axes.get_xlim() == (0, 1)


def test_the_former_name_of_the_baselines_serves_with_a_warning():
    with pytest.warns(DeprecationWarning, match=r"is now recall_figure\(baselines="):
        figure = recall_figure({}, (0.8, None), floors={"pixels": 0.6})
    assert "pixels 60.0 %" in words(figure)


def test_baselines_are_told_apart_without_colour():
    baselines = {"pixels": 0.6, "border": 0.5, "source": 0.4}
    axes = recall_figure({}, (0.8, None), baselines=baselines, chance=0.3).axes[0]
    dashes = {str(line._unscaled_dash_pattern) for line in axes.lines if line.get_label()[0] != "_"}
    assert len(dashes) == 4


def test_reliability_shows_bins_over_the_diagonal():
    upper, lower = DRAWN["reliability"]().axes
    diagonal, before, after = upper.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [(0, 0), (1, 1)])
    np.testing.assert_array_equal(before.get_xydata(), [(0.4, 0.5), (0.9, 0.875)])
    np.testing.assert_array_equal(lower.lines[0].get_xydata(), [(0.4, 0.25), (0.9, 0.75)])
    assert (before.get_marker(), before.get_linestyle()) != (after.get_marker(), after.get_linestyle())
    assert {"before", "after", "perfect"} <= set(words(DRAWN["reliability"]()))
    for wrong in ({}, {"empty": ()}, dict.fromkeys("abc", BINS)):
        with pytest.raises(ValueError, match="one or two curves with bins are drawn"):
            reliability_figure(wrong)


def test_risk_is_drawn_over_coverage_and_said_where_all_are_answered():
    figure = DRAWN["risk"]()
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_xydata(), [(0.5, 0.1), (1.0, 0.3)])
    assert "all answered: 30.0 % wrong" in words(figure)
    with pytest.raises(ValueError, match="curve must hold at least one point, got none"):
        risk_coverage_figure(())


def test_ppv_and_npv_stand_over_the_odds_of_the_prevalence_in_their_bands():
    figure = DRAWN["ppv"]()
    axes = figure.axes[0]
    odds = np.log(np.array([0.001, 0.02, 0.5]) / (1 - np.array([0.001, 0.02, 0.5])))
    ppv, npv = axes.lines[:2]
    np.testing.assert_allclose(ppv.get_xydata(), np.stack([odds, [0.01, 0.25, 0.9]], axis=1))
    np.testing.assert_allclose(npv.get_ydata(), [1, 0.99, 0.8])
    assert ppv.get_linestyle() != npv.get_linestyle()
    band = axes.collections[0].get_paths()[0].vertices
    assert {0.005, 0.05, 0.1, 0.5, 0.8, 0.95} <= set(np.round(band[:, 1], 6))
    assert {"stated, 2 %: PPV 25.0 %", "PPV with 95 % interval", "prevalence of effusion", "1 %"} <= set(words(figure))


@pytest.mark.parametrize(
    ("curve", "marked", "message"),
    [
        (WORTH[:1], {}, "two prevalences or more, rising between 0 and 1"),
        (WORTH[::-1], {}, "two prevalences or more, rising between 0 and 1"),
        (((0.0, (0, None), (1, None)), *WORTH), {}, "rising between 0 and 1"),
        ((*WORTH, (0.6, (1.5, None), (1, None))), {}, "PPV and NPV must be 0..1"),
        (WORTH, {"stated": 0.6}, "at most three prevalences on the curve are marked"),
        (WORTH, dict.fromkeys("abcd", 0.1), "at most three prevalences on the curve are marked"),
    ],
)
def test_a_wrong_curve_of_ppv_is_refused(curve, marked, message):
    with pytest.raises(ValueError, match=message):
        ppv_figure(curve, finding="effusion", marked=marked)


def test_counts_stand_beside_their_bars():
    figure = DRAWN["counts"]()
    axes = figure.axes[0]
    assert [[bar.get_width() for bar in bars] for bars in axes.containers] == [[1200, 40], [0, 7]]
    assert {"1,200", "40", "0", "7", "train", "test", "normal", "effusion"} <= set(words(figure))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "counts must hold 1 to 5 splits and a finding, got 0 and 0"),
        ({"train": {}}, "got 1 and 0"),
        ({name: {"a": 1} for name in "abcdef"}, "got 6 and 1"),
        ({"train": {"a": -1}}, "counts must not be negative"),
    ],
)
def test_wrong_counts_of_films_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        class_counts_figure(counts)


def test_samples_have_a_row_for_each_finding():
    figure = DRAWN["samples"]()
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 0]
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), FILM)
    assert figure.axes[0].images[0].get_clim() == (0, 255)
    assert {"normal", "effusion"} <= set(words(figure))


def test_exemplars_show_distances_and_fill_the_smallest_bar():
    figure = DRAWN["exemplars"]()
    found = words(figure)
    assert {"films/a.png", "normal\n0.5000", "effusion\n0.7500", "exemplar 4"} <= set(found)
    assert {"0.5000  nearest", "0.7500"} <= set(found)
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 1, 1, 0, 0, 0]
    bars = figure.axes[-1].patches
    assert [bar.get_width() for bar in bars] == [0.5, 0.75]
    filled = [matplotlib.colors.to_hex(bar.get_facecolor()) for bar in bars]
    assert filled == [THEMES["light"].accent.lower(), THEMES["light"].paper]


def test_tied_findings_are_both_nearest():
    figure = exemplar_figure(FILM, "q", [FILM], [("a", 1.0)], mean_distances={"a": 1.0, "b": 1.0, "c": 2.0})
    assert words(figure).count("1.000  nearest, tied") == 2


def test_wrong_films_are_refused():
    with pytest.raises(ValueError, match=r"an image must be uint8 \(H, W\), got float64 \(2, 2\)"):
        sample_grid_figure({"a": [np.zeros((2, 2))]})
    with pytest.raises(ValueError, match="rows must hold at least one image, got none"):
        sample_grid_figure({"a": []})
    with pytest.raises(ValueError, match=r"uint8 \(H, W\), got uint8 \(2, 2, 3\)"):
        exemplar_figure(np.zeros((2, 2, 3), np.uint8), "q", [FILM], [("a", 1.0)], mean_distances={"a": 1.0})
    with pytest.raises(ValueError, match="got 1 images and 2 titles"):
        exemplar_figure(FILM, "q", [FILM], [("a", 1.0)] * 2, mean_distances={"a": 1.0})
    with pytest.raises(ValueError, match="mean_distances must hold at least one finding, got none"):
        exemplar_figure(FILM, "q", [FILM], [("a", 1.0)], mean_distances={})


@pytest.mark.parametrize("name", ["$x^2$ and $y_", "a\\frac{", "50 % {off}", "<b>&amp;"])
def test_a_finding_may_be_called_anything(name):
    figure = confusion_matrix_figure(np.eye(2), [name, "normal"], title=name)
    recall = recall_figure({name: (0.5, None)}, (0.5, None), baselines={name: 0.1})
    exemplars = exemplar_figure(FILM, name, [FILM], [(name, 1.0)], mean_distances={name: 1.0})
    for drawn in (figure, recall, exemplars):
        pixels(drawn)
        assert any(name[:4] in text for text in words(drawn))
        # Saved later, under the user's own settings, a tick must not turn into a formula.
        assert not any(
            text.get_parse_math() for text in drawn.findobj(matplotlib.text.Text) if name[:4] in text.get_text()
        )


def test_a_mark_at_the_edge_is_whole():
    figure = recall_figure({"a": (1.0, (1.0, 1.0)), "b": (0.0, None)}, (0.5, None))
    marks = [line for line in figure.axes[0].lines if line.get_marker() in ("o", "D")]
    assert len(marks) == 3
    assert not any(mark.get_clip_on() for mark in marks)
