"""What the commands of `fscxr bank` share: flags, films, and what is said of a bank that is written."""

from pathlib import Path

import click

from fewshot_cxr.cli.console import say, say_notes, show_table, write_result
from fewshot_cxr.cli.flags import encoder_path, several, there_file, there_path
from fewshot_cxr.cli.outputs import bank_file
from fewshot_cxr.cli.sources import Reading, read_films
from fewshot_cxr.inference.bank import SupportBank, bank_counts, bank_json, bank_warnings
from fewshot_cxr.records import Records

bank_argument = click.argument("bank_path", metavar="BANK", type=there_file)
place_flags = several(
    click.option("--checkpoint", type=encoder_path, help="Run folder of the bank's encoder.  [default: found by hash]"),
    click.option("--weights", type=there_path, help="The file that its published encoder started from."),
)
out_flag = click.option("--out", type=bank_file, help="The bank to write.  [default: BANK itself]")
split_flag = click.option("--split", metavar="NAME", help="Take the films of this split only.")


def films_of(source: str, split: str | None, reading: Reading) -> Records:
    """Read films of one finding each, and say what is to be known of them.

    Args:
        source: as a person wrote it.
        split: of which alone films are taken; None: all.
        reading: the flags.
    """
    records = read_films(source, reading, single_label=True, allow_leak=True)
    say_notes(records.notes)
    return records if split is None else records.of_split(split)


def write_bank(bank: SupportBank, out: Path, json_file: str | None, *, self_contained: bool | None = None) -> None:
    """Write a bank, and say what it is now.

    Args:
        bank: to write.
        out: the file.
        json_file: for what is said, too.
        self_contained: with the weights of its encoder; None: as it was read.
    """
    bank.save(out, self_contained=self_contained)
    say_notes(bank.notes)
    show_bank(bank)
    if bank.receipt is not None:
        say(f"receipt: {bank.receipt.text()}")
    say(f"written: {out} (next: fscxr predict FILMS --bank {out})")
    write_result(bank_json(bank), json_file)


def show_bank(bank: SupportBank) -> None:
    """Print what a bank holds, what it promises, and what to beware of."""
    rows = [one.row() for one in bank_counts(bank.table)]
    show_table("Exemplars of each finding", ("finding", "films", "patients", "sources"), rows)
    for name, text in bank.facts()[1:]:
        for line in text.splitlines():
            say(f"{name}: {line}")
    for warning in bank_warnings(bank):
        say(f"warning: {warning}")
