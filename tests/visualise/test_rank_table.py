import matplotlib
import numpy as np
import pytest
from seen_figures import words

from fewshot_cxr.visualise import THEMES, rank_table_figure

# Eight exemplars, two of them at one distance.
FILMS = [np.full((8, 8), value, dtype=np.uint8) for value in range(8)]
ROWS = list(zip(FILMS, "aabcabcc", (3, 1, 2, 5, 4, 2, 7, 6), strict=True))
MEANS = {"c": 6.0, "a": 8 / 3, "b": 2.0}


def shown(figure):
    """The exemplars' axes: (title, label) of each, in order, after the film that was asked."""
    return [(axes.get_title(loc="left"), axes.get_xlabel()) for axes in figure.axes[1:-1] if axes.images]


def test_exemplars_stand_in_order_of_distance_and_ties_share_a_rank():
    figure = rank_table_figure(FILMS[0], "q.png", ROWS, MEANS)
    assert shown(figure) == [
        ("1", "a\n1.000"),
        ("2 tied", "b\n2.000"),
        ("2 tied", "b\n2.000"),
        ("4", "a\n3.000"),
        ("5", "a\n4.000"),
        ("6", "c\n5.000"),
        ("7", "c\n6.000"),
        ("8", "c\n7.000"),
    ]
    drawn = [int(axes.images[0].get_array()[0, 0]) for axes in figure.axes if axes.images]
    assert drawn == [0, 1, 2, 5, 0, 4, 3, 7, 6]
    assert {"q.png", "this film", "2.000  nearest", "2.667", "6.000"} <= set(words(figure))


def test_the_order_of_the_rows_does_not_matter():
    figure, other = (rank_table_figure(FILMS[0], "q.png", rows, MEANS) for rows in (ROWS, ROWS[::-1]))
    assert shown(figure) == shown(other)


def test_exemplars_of_the_nearest_finding_are_framed():
    figure = rank_table_figure(FILMS[0], "q.png", ROWS, MEANS)
    accent = THEMES["light"].accent.lower()
    framed = [
        axes.get_xlabel()[0]
        for axes in figure.axes[1:-1]
        if matplotlib.colors.to_hex(axes.spines["top"].get_edgecolor()) == accent
    ]
    assert framed == ["b", "b"]


def test_a_tie_of_findings_is_said():
    figure = rank_table_figure(FILMS[0], "q.png", ROWS, {"a": 2.0, "b": 2.0, "c": 3.0})
    assert words(figure).count("2.000  nearest, tied") == 2
    assert "3.000" in words(figure)


@pytest.mark.slow
def test_many_exemplars_are_all_shown():
    rows = [(FILMS[0], "a", float(number)) for number in range(28)]
    figure = rank_table_figure(FILMS[0], "q.png", rows, {"a": 13.5})
    assert [title for title, _ in shown(figure)] == [str(number) for number in range(1, 29)]


def test_wrong_rank_tables_are_refused():
    with pytest.raises(ValueError, match="a rank table needs exemplars and means, got 0 and 1"):
        rank_table_figure(FILMS[0], "q.png", [], {"a": 1.0})
    with pytest.raises(ValueError, match="a rank table needs exemplars and means, got 8 and 0"):
        rank_table_figure(FILMS[0], "q.png", ROWS, {})
    with pytest.raises(ValueError, match=r"q\.png: distances must be finite; look at the embeddings"):
        rank_table_figure(FILMS[0], "q.png", [(FILMS[0], "a", np.nan)], {"a": 1.0})
    with pytest.raises(ValueError, match=r"an image must be uint8 \(H, W\), got float64 \(2, 2\)"):
        rank_table_figure(np.zeros((2, 2)), "q.png", ROWS, MEANS)


SCORES = {"a": 0.2, "b": 0.6, "c": 0.2}


def bars_title(figure):
    return " ".join(figure.subfigs[1].get_suptitle().split())


def test_the_decision_is_marked_though_another_finding_has_the_nearest_exemplars():
    figure = rank_table_figure(FILMS[0], "q.png", ROWS, SCORES, rule="knn", truth="b", decision="c")
    assert bars_title(figure) == "Score of each finding by the rule knn (smaller is closer)"
    assert {"0.2000  decision, tied", "0.2000  tied", "0.6000"} <= set(words(figure))
    accent = THEMES["light"].accent.lower()
    framed = {
        axes.get_xlabel()[0]
        for axes in figure.axes[1:-1]
        if matplotlib.colors.to_hex(axes.spines["top"].get_edgecolor()) == accent
    }
    assert framed == {"c"}
    assert bars_title(rank_table_figure(FILMS[0], "q.png", ROWS, MEANS)) == (
        "Mean distance to each finding (smaller is closer)"
    )


def test_a_long_path_hides_neither_truth_nor_decision():
    path = "images/" + "a_very_long_folder/" * 12 + "film_0815.png"
    figure = rank_table_figure(FILMS[0], path, ROWS, MEANS, truth="(unknown)", decision="b")
    label = figure.axes[0].get_xlabel()
    assert label.endswith("truth: (unknown)\ndecision: b")
    other = rank_table_figure(FILMS[0], path, ROWS, {"COVID-19": 1.0}, truth="b", decision="COVID-19")
    assert "decision: COVID-19" in other.axes[0].get_xlabel().replace("-\n", "-").replace("\n", " ")
    joined = label.replace("\n", "")
    assert joined.startswith("images/a_very_long")
    assert "film_0815.png" in joined
    assert joined.count("…") == 1


@pytest.mark.parametrize(
    ("distance", "shown"), [(0.00001234567, "1.235e-05"), (0.012345, "0.01235"), (1234.0, "1234"), (20.0, "20.00")]
)
def test_distances_have_four_significant_digits(distance, shown):
    figure = rank_table_figure(FILMS[0], "q.png", [(FILMS[0], "a", distance)], {"a": distance})
    assert {f"a\n{shown}", f"{shown}  nearest"} <= set(words(figure))


@pytest.mark.slow
def test_where_some_exemplars_are_shown_it_says_of_how_many():
    some = rank_table_figure(FILMS[0], "q.png", ROWS, MEANS, n_exemplars=2051)
    assert "8 of 2051 exemplars shown" in words(some)
    for n_exemplars in (None, 8):
        figure = rank_table_figure(FILMS[0], "q.png", ROWS, MEANS, n_exemplars=n_exemplars)
        assert not any("shown" in text for text in words(figure))


def test_a_decision_that_was_not_compared_is_refused():
    with pytest.raises(ValueError, match="decision must be a finding that has a mean, got 'd'; choose from c, a, b"):
        rank_table_figure(FILMS[0], "q.png", ROWS, MEANS, decision="d")
