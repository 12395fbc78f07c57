"""`fscxr bank calibrate`: probabilities, sets, limits and operating points."""

from pathlib import Path

import click

from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.cli.bank_parts import bank_argument, films_of, out_flag, place_flags, split_flag, write_bank
from fewshot_cxr.cli.flags import json_flag
from fewshot_cxr.cli.sources import Reading, reading_flags
from fewshot_cxr.inference.bank import SupportBank


def _shares(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, float] | None:
    """Return NAME=SHARE, repeated, as a mapping; None: nothing was stated."""
    found: dict[str, float] = {}
    for text in texts:
        name, _, share = (part.strip() for part in text.rpartition("="))
        try:
            value = float(share)
        except ValueError:
            value = 0.0
        if not name or not 0 < value < 1:
            raise click.UsageError(f"{parameter.opts[0]} is NAME=SHARE, such as covid19=0.9, got {text!r}")
        if name in found:
            raise click.UsageError(f"{parameter.opts[0]} of {name} is stated twice")
        found[name] = value
    return found or None


@click.command()
@bank_argument
@click.option("--data", "source", help="Labelled films of other patients.  [default: the exemplars]")
@split_flag
@click.option("--level", default=0.9, help="Share of sets that are to hold the true finding.")
@click.option("--false-reject-rate", default=0.05, help="Of known findings, called unknown.")
@click.option(
    "--sensitivity",
    metavar="NAME=SHARE",
    multiple=True,
    callback=_shares,
    help="From where on a film is called this finding, such as covid19=0.9; repeat it.",
)
@click.option("--specificity", metavar="NAME=SHARE", multiple=True, callback=_shares, help="Likewise.")
@place_flags
@out_flag
@reading_flags
@json_flag
def command(
    *,
    bank_path: Path,
    source: str | None,
    split: str | None,
    level: float,
    false_reject_rate: float,
    sensitivity: dict[str, float] | None,
    specificity: dict[str, float] | None,
    checkpoint: Path | None,
    weights: Path | None,
    out: Path | None,
    reading: Reading,
    json_file: str | None,
) -> None:
    """Fit probabilities, sets, limits and operating points on films kept apart, or on the exemplars alone.

    \b
    Example: fscxr bank calibrate clinic.bank --data split.csv --split val
             fscxr bank calibrate clinic.bank --sensitivity covid19=0.9 --specificity normal=0.95
    """
    with only_writer(out or bank_path, is_folder=False):
        bank = SupportBank.load(bank_path, checkpoint, weights=weights)
        films = None if source is None else films_of(source, split, reading)
        calibrated = bank.calibrate(
            films, level=level, false_reject_rate=false_reject_rate, sensitivity=sensitivity, specificity=specificity
        )
        write_bank(calibrated, out or bank_path, json_file)
