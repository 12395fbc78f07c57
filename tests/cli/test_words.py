"""Names of Python in the library's messages become flags."""

import click
import pytest

from fewshot_cxr.cli.app import fscxr
from fewshot_cxr.cli.console import say
from fewshot_cxr.cli.words import called_command, in_flags

EVALUATE = called_command(fscxr, ["episode-eval", "--checkpoint", "run"])
TRAIN = called_command(fscxr, ["train", "siamese"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("n_way is 9, but only 2 findings have films", "--n-way is 9, but only 2 findings have films"),
        ("if_too_small='skip_class' settles it", "--if-too-small skip_class settles it"),
        ("take fewer shots (n_shot) or queries (n_query)", "take fewer shots (--n-shot) or queries (--n-query)"),
        ("no novel finding: none is new; name some in novel", "no novel finding: none is new; name some in --novel"),
        ("protocol novel takes no n_folds or n_repeats", "protocol novel takes no --n-folds or --n-repeats"),
        ("n_shot.csv and runs/n_way/x are files", "n_shot.csv and runs/n_way/x are files"),
        ("take fewer (n_shot).", "take fewer (--n-shot)."),
        ("unknown n_ways", "unknown n_ways"),
    ],
)
def test_arguments_are_called_by_their_flags(text, said):
    assert in_flags(text, EVALUATE) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("another n_epochs (6 there, 3 now)", "another --epochs (6 there, 3 now)"),
        ("size_px must be at least 8", "--image-size must be at least 8"),
        ("loss x has no margin: leave margin out (--margin)", "loss x has no margin: leave --margin out (--margin)"),
        ("margin must be above 0, got -1", "--margin must be above 0, got -1"),
    ],
)
def test_settings_are_called_by_their_flags(text, said):
    assert in_flags(text, TRAIN) == said


def test_without_a_command_the_text_stays():
    assert in_flags("n_way is 9", None) == "n_way is 9"
    assert in_flags("n_way is 9", called_command(fscxr, [])) == "n_way is 9"
    assert isinstance(called_command(fscxr, ["data"]), click.Group)


def test_notes_of_a_running_command_name_flags_too(capsys):
    with click.Context(EVALUATE):
        say("interval over patients: none, take fewer shots (n_shot)")
    say("outside of any (n_shot)")
    assert capsys.readouterr().err == (
        "interval over patients: none, take fewer shots (--n-shot)\noutside of any (n_shot)\n"
    )
