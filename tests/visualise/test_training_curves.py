import math

import pytest
from seen_figures import words

from fewshot_cxr.visualise import learning_curves_figure

HISTORY = [
    {"epoch": 1.0, "loss": 0.9, "val_accuracy": 0.5, "lr": 0.1},
    {"epoch": 2.0, "loss": 0.5, "val_accuracy": 0.75, "lr": 0.1},
    {"epoch": 3.0, "loss": 0.4, "val_accuracy": 0.75, "lr": 0.1},
]
MORE = {"val_loss": 0.7, "accuracy": 0.9, "val_balanced_accuracy": 0.6, "val_auroc": 0.8}
FULL = [row | MORE for row in HISTORY]


def stars(axes):
    return [tuple(line.get_xydata()[0].tolist()) for line in axes.lines if line.get_marker() == "*"]


def curves(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines if line.get_label()[0] != "_"}


def test_the_first_of_the_best_epochs_is_marked():
    figure = learning_curves_figure(HISTORY)
    assert "Validation accuracy: 75.0 % in the best epoch, 2" in words(figure)
    assert stars(figure.axes[1]) == [(2.0, 0.75)]


def test_losses_stand_above_and_shares_below():
    loss, share = learning_curves_figure(FULL, best_epoch=3).axes
    assert curves(loss) == {"training": [0.9, 0.5, 0.4], "validation": [0.7] * 3}
    assert curves(share) == {
        "training": [0.9] * 3,
        "validation": [0.5, 0.75, 0.75],
        "validation, balanced": [0.6] * 3,
        "validation AUROC": [0.8] * 3,
    }


def test_the_kept_epoch_is_marked_on_the_curves_of_validation():
    figure = learning_curves_figure(FULL, best_epoch=1)
    loss, share = figure.axes
    assert stars(loss) == [(1.0, 0.7)]
    assert stars(share) == [(1.0, 0.5), (1.0, 0.6), (1.0, 0.8)]
    assert "Accuracy and AUROC: 50.0 % in the best epoch, 1" in words(figure)


def test_one_legend_names_the_lines_of_both_panels():
    figure = learning_curves_figure(FULL)
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["training", "validation", "validation, balanced", "validation AUROC"]
    assert not learning_curves_figure([{"epoch": 1.0, "loss": 0.5}]).legends


def test_without_validation_there_is_one_panel():
    figure = learning_curves_figure([{"epoch": 1.0, "loss": 0.5}])
    assert len(figure.axes) == 1
    assert list(figure.axes[0].lines[0].get_ydata()) == [0.5]
    assert "Training loss" in words(figure)
    assert "Training loss: best epoch 1" in words(learning_curves_figure([{"epoch": 1.0, "loss": 0.5}], best_epoch=1))


def test_what_is_not_finite_is_not_drawn():
    rows = [row | {"val_auroc": math.nan, "val_loss": math.inf} for row in HISTORY]
    rows[1]["val_accuracy"] = math.nan
    loss, share = learning_curves_figure(rows).axes
    assert curves(loss) == {"training": [0.9, 0.5, 0.4]}
    assert curves(share) == {"validation": [0.5, 0.75]}
    assert stars(share) == [(3.0, 0.75)]


def test_wrong_histories_are_refused():
    with pytest.raises(ValueError, match="history must hold at least one epoch, got none"):
        learning_curves_figure([])
    with pytest.raises(ValueError, match="best_epoch is 4, which the history of 3 epochs does not have"):
        learning_curves_figure(HISTORY, best_epoch=4)
