"""Flags that come to a command as one value, and what their callbacks refuse."""

from dataclasses import dataclass

import click
import pytest
from click.testing import CliRunner

from fewshot_cxr.cli.flags import as_one, comma_names, given_flags, is_count, name_in, refuse_flags


@dataclass(frozen=True)
class Place:
    folder: str
    names: tuple[str, ...] | None


@click.command()
@click.option("--first", default=1)
@as_one(
    "place",
    Place,
    click.option("--folder", default="here"),
    click.option("--names", callback=comma_names),
    click.option("--quiet", is_flag=True, expose_value=False),
)
@as_one("colour", lambda colour: colour.upper(), click.option("--colour", callback=name_in({"red": 1}, "colour")))
@click.option("--last", default=9)
def command(*, first, place, colour, last):
    """Print what came."""
    click.echo(f"{first} {place} {colour} {last} {given_flags()}")


def test_a_group_of_flags_is_one_argument_and_the_others_stay():
    result = CliRunner().invoke(command, ["--names", "a, b", "--colour", "red"])
    given = {"names": "--names", "colour": "--colour"}
    assert result.output == f"1 {Place('here', ('a', 'b'))} RED 9 {given}\n"


def test_help_lists_the_flags_in_the_order_in_which_they_stand():
    names = [parameter.name for parameter in command.params]
    assert names == ["first", "folder", "names", "quiet", "colour", "last"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--names", " , "], "--names ' , ' names nothing; write --names A,B,C"),
        (["--colour", "rde"], "unknown colour 'rde' (did you mean 'red'?)"),
    ],
)
def test_a_slip_is_answered_before_the_command_runs(arguments, words):
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code != 0
    assert words in result.output + str(result.exception)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "two", "\N{SUPERSCRIPT TWO}"])
def test_a_count_is_a_number_from_1_up(text):
    assert is_count("12")
    assert is_count(" 3 ")
    assert not is_count(text)


@click.command()
@click.option("--first", default=1)
@click.option("--last", default=9)
def picky(*, first, last):
    """Refuse --last."""
    refuse_flags(lambda name: name == "last", "--first", "the first is taken")


def test_idle_flags_are_refused_by_name_and_only_where_they_were_typed():
    assert CliRunner().invoke(picky, ["--first", "2"]).exit_code == 0
    told = CliRunner().invoke(picky, ["--first", "2", "--last", "3"]).output
    assert "--last does not go with --first: the first is taken" in told
