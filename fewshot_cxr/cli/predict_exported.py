"""`fscxr predict --runtime onnx`: a bank that was exported answers, and torch is not loaded."""

from pathlib import Path

import click

from fewshot_cxr.cli.bank_answers import answer_by_bank
from fewshot_cxr.cli.bank_question import BankQuestion
from fewshot_cxr.cli.flags import json_flag, there_file
from fewshot_cxr.cli.outputs import answers_file
from fewshot_cxr.inference.bank.prevalence import parse_prevalence
from fewshot_cxr.inference.exported_bank import ExportedBank
from fewshot_cxr.workflows.compute import Compute


@click.command("predict")
@click.argument("films", metavar="FILMS", nargs=-1, required=True)
@click.option("--bank", required=True, type=there_file, help="A file that `fscxr export onnx` made of a bank.")
@click.option("--runtime", type=click.Choice(["onnx"]), expose_value=False, help="What computes.")
@click.option("--n-nearest", default=3, type=click.IntRange(1), help="Exemplars shown.")
@click.option("--never-abstain", is_flag=True, help="Name the nearest finding whatever is against it.")
@click.option("--prevalence", help="Of findings where you are, such as covid19=0.02,pneumonia=0.1.")
@click.option("--details", is_flag=True, help="Everything said of each film, after the table.")
@click.option("--csv", "csv_file", type=answers_file, help="Write the answers as a table.")
@click.option("--per", type=click.Choice(["film", "patient"]), default="film", help="patient joins its films.")
@click.option("--patient-pattern", help="With --per patient: of paths, with a group `patient`.")
@click.option("--any-modality", is_flag=True, help="Take what is no X-ray of the chest by its DICOM header, too.")
@click.option("--resume", is_flag=True, help="With --csv: go on where a run was ended early.")
@click.option("--batch-size", default=32, type=click.IntRange(1), help="Films at a time.")
@click.option("--threads", type=click.IntRange(1), help="Processor threads.  [default: all cores]")
@json_flag
def command(
    *,
    films: tuple[str, ...],
    bank: Path,
    n_nearest: int,
    never_abstain: bool,
    prevalence: str | None,
    details: bool,
    csv_file: Path | None,
    per: str,
    patient_pattern: str | None,
    any_modality: bool,
    resume: bool,
    batch_size: int,
    threads: int | None,
    json_file: str | None,
) -> None:
    """Answer for FILMS as the bank does that was exported: files, folders, patterns; - reads a list of them.

    \b
    Example: fscxr export onnx clinic.bank --out clinic.onnx
             fscxr predict new/ --bank clinic.onnx --runtime onnx --csv answers.csv
    """
    if bank.suffix == ".bank":
        raise click.UsageError(f"{bank} is no exported bank: leave out --runtime, or `fscxr export onnx` it")
    question = BankQuestion(
        never_abstain=never_abstain,
        n_nearest=n_nearest,
        prevalence=None if prevalence is None else parse_prevalence(prevalence),
        per=per,
        patient_pattern=patient_pattern,
        any_modality=any_modality,
        details=details,
        resume=resume,
        csv_file=csv_file,
        json_file=json_file,
    )
    answer_by_bank(ExportedBank(bank, threads=threads), films, question, Compute(device="cpu", batch_size=batch_size))
