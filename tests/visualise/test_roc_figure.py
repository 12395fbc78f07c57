import matplotlib
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from fewshot_cxr.visualise import pr_figure, roc_figure


def made_curve(auc, interval=None):
    return (0.0, 0.5, 1.0), (0.0, auc, 1.0), (auc, interval)


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_legend_rises_with_the_auc():
    curves = {"a": made_curve(0.9, (0.8, 0.95)), "b": made_curve(0.55), "c": made_curve(1.0, (0.97, 1.0))}
    assert legend_of(roc_figure(curves)) == ["b (AUC 0.55)", "a (AUC 0.90 [0.80, 0.95])", "c (AUC 1.00 [0.97, 1.00])"]


def test_points_and_chance_are_drawn_on_whole_axes():
    rng = np.random.default_rng(0)
    truth, scores = rng.random(60) < 0.4, rng.random(60)
    false, true, _ = roc_curve(truth, scores)
    figure = roc_figure({"a": (false, true, (0.5, None))})
    axes = figure.axes[0]
    chance, drawn = axes.lines
    np.testing.assert_array_equal(chance.get_xydata(), [(0, 0), (1, 1)])
    assert chance.get_linestyle() == "--"
    np.testing.assert_array_equal(drawn.get_xydata(), np.stack([false, true], axis=1))
    assert axes.get_xlim() == axes.get_ylim() == (0, 1)
    assert axes.get_aspect() == 1
    assert not drawn.get_clip_on()  # along the edge, the line of a perfect curve is whole


def test_a_findings_look_does_not_depend_on_its_auc():
    figures = [roc_figure({"a": made_curve(auc), "b": made_curve(0.7)}) for auc in (0.9, 0.5)]
    assert [legend_of(figure)[0] for figure in figures] == ["b (AUC 0.70)", "a (AUC 0.50)"]
    assert len({figure.axes[0].lines[1].get_color() for figure in figures}) == 1


def test_fourteen_findings_are_told_apart():
    names = [f"finding_{number}" for number in range(14)]
    figure = roc_figure({name: made_curve(0.5 + 0.03 * place) for place, name in enumerate(names)})
    assert len(legend_of(figure)) == 14
    looks = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in figure.axes[0].lines[1:]}
    assert len(looks) == 14


def test_equal_names_after_shortening_keep_their_curves():
    names = ["x" * 60 + "_one", "x" * 60 + "_two"]
    figure = roc_figure(dict.fromkeys(names, made_curve(0.8)))
    handles = figure.legends[0].get_lines()
    assert handles[0].get_color() != handles[1].get_color()


def test_what_lies_under_the_steps_is_the_average_precision():
    rng = np.random.default_rng(1)
    truth, scores = rng.random(50) < 0.3, rng.random(50)
    precisions, recalls, _ = precision_recall_curve(truth, scores)
    area = average_precision_score(truth, scores)
    figure = pr_figure({"a": (recalls[::-1], precisions[::-1], (area, None))}, chance={"a": 0.3})
    (line,) = figure.axes[0].lines
    assert line.get_drawstyle() == "steps-pre"  # a step has the height of its right end
    recall, precision = line.get_xydata().T
    assert (np.diff(recall) * precision[1:]).sum() == pytest.approx(area)
    assert legend_of(figure) == [f"a (AP {area:.2f}, chance 0.30)"]


@pytest.mark.parametrize("draw", [roc_figure, pr_figure])
@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (((0, 1), (0, 0.5, 1), (0.5, None)), r"a: \w+ and \w+ must be arrays of one length, got \(2,\), \(3,\)"),
        (((0,), (0,), (0.5, None)), "must be arrays of one length"),
        (((0, 1), (0, 1.5), (0.5, None)), r"must be 0\.\.1; leave out a finding whose curve is undefined"),
        (((0, np.nan), (0, 1), (0.5, None)), r"must be 0\.\.1"),
        (((0, 1), (0, 1), (np.nan, None)), r"must be 0\.\.1"),
        (((0, 0.6, 0.5, 1), (0, 0, 1, 1), (0.5, None)), "must not fall from point to point; sort the points"),
    ],
)
def test_wrong_curves_are_refused(draw, curve, message):
    with pytest.raises(ValueError, match=message):
        draw({"a": curve})


@pytest.mark.parametrize("draw", [roc_figure, pr_figure])
def test_a_figure_needs_a_curve(draw):
    with pytest.raises(ValueError, match="curves must hold at least one finding, got none"):
        draw({})


def test_a_finding_called_like_a_formula_is_text():
    figure = roc_figure({"$x^2$": made_curve(0.8)})
    assert not any(text.get_parse_math() for text in figure.findobj(matplotlib.text.Text) if "$" in text.get_text())
