"""`fscxr bank`: exemplars in one file, built, added to, removed from, looked at, calibrated and merged."""

from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import click

from fewshot_cxr import report  # each name loads when it is asked for
from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.cli import bank_calibrate, bank_prevalence, flags
from fewshot_cxr.cli.app import Group
from fewshot_cxr.cli.bank_parts import bank_argument, films_of, out_flag, place_flags, show_bank, split_flag, write_bank
from fewshot_cxr.cli.console import progress_bars, say_written, show_table, write_page, write_result
from fewshot_cxr.cli.encoder_flags import chosen_spec, encoder_option_flag, image_flags, start_flags
from fewshot_cxr.cli.exemplars import rule_flags
from fewshot_cxr.cli.outputs import bank_file, page_file
from fewshot_cxr.cli.sources import Reading, read_films, reading_flags
from fewshot_cxr.data import takes_finding
from fewshot_cxr.encoders import Encoder, build_encoder, frozen_card
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import RULES, TRANSDUCTIVE
from fewshot_cxr.inference.bank import CHOICES, SupportBank, bank_json
from fewshot_cxr.inference.bank.gathering import named_finding
from fewshot_cxr.records import Records
from fewshot_cxr.serve.changes import ChangeLog
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule


@click.group(cls=Group)
def command() -> None:
    """Keep exemplars in one file that answers for new films, or abstains.

    \b
    Example: fscxr bank build --encoder efficientnet_lite0 --pretrained --data known/ --out clinic.bank
             fscxr bank add clinic.bank covid19 five/
             fscxr predict new/ --bank clinic.bank
    """


@command.command()
@click.option("--checkpoint", type=flags.encoder_path, help="Run folder of an encoder; or --encoder.")
@click.option("--encoder", "name", help="A published encoder by name, with --pretrained or --weights.")
@start_flags
@encoder_option_flag
@flags.as_one("image", dict, image_flags(ImageSpec()))
@flags.data_flag
@split_flag
@click.option("--n-exemplars", metavar="N|all", default="20", callback=flags.count_or_all, help="Of each finding.")
@click.option(
    "--choice",
    default="random",
    callback=flags.name_in(CHOICES, "choice"),
    help=f"How they are chosen: {', '.join(CHOICES)}.",
)
@rule_flags([rule for rule in RULES if rule not in TRANSDUCTIVE])
@click.option("--thumbnails", is_flag=True, help="Keep small pictures of the exemplars in the file.")
@click.option("--self-contained", is_flag=True, help="Keep the encoder's weights in the file, too.")
@click.option("--out", required=True, type=bank_file, help="The bank to write.")
@flags.seed_flag
@flags.device_flag
@flags.threads_flag
@reading_flags
@flags.json_flag
def build(
    *,
    checkpoint: Path | None,
    name: str | None,
    encoder_options: dict[str, Any],
    weights: str | None,
    pretrained: bool,
    image: dict[str, Any],
    source: str,
    split: str | None,
    n_exemplars: int | None,
    choice: str,
    rule: ExemplarRule,
    thumbnails: bool,
    self_contained: bool,
    out: Path,
    seed: int,
    device: str,
    reading: Reading,
    json_file: str | None,
) -> None:
    """Build a bank of labelled films.

    \b
    Example: fscxr bank build --encoder efficientnet_lite0 --pretrained --image-size 320 --data known/ --out clinic.bank
             fscxr bank build --checkpoint run --data split.csv --split val --n-exemplars all --out clinic.bank
    """
    if (checkpoint is None) == (name is None):
        raise click.UsageError("say whose embeddings: --checkpoint RUN, or --encoder NAME --pretrained (or --weights)")
    encoder = checkpoint or _published(
        name or "", {"weights": weights, "pretrained": pretrained}, encoder_options, image
    )
    records = films_of(source, split, reading)
    with progress_bars() as report:
        bank = SupportBank.build(
            encoder,
            records,
            n_exemplars=n_exemplars,
            choice=choice,
            rule=rule.name or None,
            distance=rule.distance or None,
            options=rule.options,
            thumbnails=thumbnails,
            seed=seed,
            device=device,
            progress=lambda done, total: report("embedding exemplars", done, total),
        )
    write_bank(bank, out, json_file, self_contained=self_contained)


@command.command()
@bank_argument
@click.argument("name", metavar="FINDING")
@click.argument("films", metavar="FILMS", nargs=-1, required=True, type=flags.there_path)
@place_flags
@out_flag
@reading_flags
@flags.json_flag
def add(
    *,
    bank_path: Path,
    name: str,
    films: tuple[Path, ...],
    checkpoint: Path | None,
    weights: Path | None,
    out: Path | None,
    reading: Reading,
    json_file: str | None,
) -> None:
    """Add FILMS of a FINDING to a bank: files, or one folder or manifest. No training.

    \b
    Example: fscxr bank add clinic.bank covid19 five/
    """
    name = named_finding(name)
    with only_writer(out or bank_path, is_folder=False):
        bank = SupportBank.load(bank_path, checkpoint, weights=weights)
        grown = bank.add(name, _of_finding(films, name, reading))
        write_bank(grown, out or bank_path, json_file)


@command.command()
@bank_argument
@click.option("--finding", help="All exemplars of a finding.")
@click.option("--film", help="One exemplar, by the name that `bank show --exemplars` prints.")
@click.option("--patient", help="All exemplars of a patient, by the id that they were read with.")
@out_flag
@flags.json_flag
def remove(
    *,
    bank_path: Path,
    finding: str | None,
    film: str | None,
    patient: str | None,
    out: Path | None,
    json_file: str | None,
) -> None:
    """Remove a finding, a film or a patient from a bank, and print a receipt that names no one.

    \b
    Example: fscxr bank remove clinic.bank --patient p0069
    """
    with only_writer(out or bank_path, is_folder=False):
        smaller = SupportBank.load(bank_path).remove(
            finding=finding and named_finding(finding), film=film, patient=patient
        )
        write_bank(smaller, out or bank_path, json_file)
        if (out or bank_path).resolve() == bank_path.resolve():
            # What a server keeps to take changes back holds what is to be gone.
            ChangeLog(bank_path.resolve()).forget_all()


@command.command()
@click.argument("banks", nargs=-1, required=True, type=flags.there_file)
@click.option("--out", required=True, type=bank_file, help="The bank to write.")
@flags.json_flag
def merge(*, banks: tuple[Path, ...], out: Path, json_file: str | None) -> None:
    """Merge banks of one encoder; patients of one id are taken for one.

    \b
    Example: fscxr bank merge here.bank there.bank --out both.bank
    """
    with only_writer(out, is_folder=False):  # it may be one of them, and grow meanwhile
        write_bank(reduce(SupportBank.merge, map(SupportBank.load, banks)), out, json_file)


@command.command()
@bank_argument
@click.option("--exemplars", "lists", is_flag=True, help="List every exemplar.")
@click.option("--html", "html_file", type=page_file, help="Write a page to look at.")
@flags.json_flag
def show(*, bank_path: Path, lists: bool, html_file: Path | None, json_file: str | None) -> None:
    """Show what a bank holds: exemplars, patients and sources of each finding, what it promises, what to beware of.

    \b
    Example: fscxr bank show clinic.bank
    """
    bank = SupportBank.load(bank_path)
    show_bank(bank)
    if lists:
        rows = list(zip(bank.table.findings, bank.table.names, bank.table.sources, strict=True))
        show_table("Exemplars", ("finding", "film", "source"), rows)
    if html_file is not None:
        write_page(html_file, report.render_page(report.bank_page(bank)))
    say_written(html_file)
    write_result(bank_json(bank), json_file)


def _published(name: str, start: dict[str, Any], options: dict[str, Any], image: dict[str, Any]) -> Encoder:
    start = {key: value for key, value in start.items() if value}
    if len(start) != 1:
        raise click.UsageError("random weights tell nothing: say --pretrained, or --weights FILE, beside --encoder")
    spec = chosen_spec(image, ImageSpec(), name, start)
    encoder = build_encoder(name, image_spec=spec, **{"output": "pooled", **options, **start}).eval()
    encoder.card = frozen_card(encoder)
    return encoder


def _of_finding(films: tuple[Path, ...], finding: str, reading: Reading) -> Records | list[Path]:
    """Return the films to add: as a reader knows them, with their patients, where one source is given."""
    place = films[0]
    if len(films) == 1 and place.is_dir():
        options = {**reading.options, **({"finding": finding} if takes_finding(place) else {})}
        return read_films(str(place), replace(reading, options=options), allow_leak=True)
    return films_of(str(place), None, reading) if len(films) == 1 and place.suffix == ".csv" else list(films)


command.add_command(bank_calibrate.command, "calibrate")
command.add_command(bank_prevalence.command, "prevalence")
