"""`fscxr predict`: what is nearest to a new film, and which exemplars say so."""

from dataclasses import replace
from pathlib import Path

import click

from fewshot_cxr.cli.bank_answers import answer_by_bank, answer_shards, named_files
from fewshot_cxr.cli.bank_question import BankQuestion
from fewshot_cxr.cli.console import bars_for, say, say_notes, write_result
from fewshot_cxr.cli.exemplars import SOURCE_HELP, read_support, rule_flags, say_exemplars, support_split_flag
from fewshot_cxr.cli.flags import (
    batch_compute_flags,
    encoder_path,
    given_flags,
    json_flag,
    seed_flag,
    there_file,
    there_path,
)
from fewshot_cxr.cli.outputs import answers_file, page_file
from fewshot_cxr.cli.results import show_prediction
from fewshot_cxr.cli.shards import Sharding, shards_flags
from fewshot_cxr.cli.sources import Reading, reading_flags
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.inference import RULES, TRANSDUCTIVE, Prediction, embed_files, predict
from fewshot_cxr.inference.bank import KINDS, SupportBank, parse_prevalence
from fewshot_cxr.records import Records
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.weights_seen import weights_notes, weights_warnings

_WITHOUT_BANK = {
    "sources",
    "support_split",
    "n_exemplars",
    "rule",
    "distance",
    "penalty",
    "seed",
    "findings",
    "with_others",
}


@click.command()
@click.argument("films", metavar="FILMS", nargs=-1, required=True)
@click.option("--bank", "bank_path", type=there_file, help="A support bank.")
@click.option("--checkpoint", type=encoder_path, help="Run folder or encoder file; of a bank: found by hash.")
@click.option("--weights", type=there_path, help="With --bank: the file that its published encoder started from.")
@click.option("--support", "sources", multiple=True, help=f"Without a bank: labelled films, {SOURCE_HELP}; repeat it.")
@support_split_flag
@click.option("--n-exemplars", default=20, type=click.IntRange(1), help="Per finding, drawn by seed.")
@click.option("--n-nearest", default=3, type=click.IntRange(1), help="Exemplars shown.")
@click.option("--never-abstain", is_flag=True, help="With --bank: name the nearest finding whatever is against it.")
@click.option("--prevalence", help="With --bank: of findings where you are, such as covid19=0.02,pneumonia=0.1.")
@click.option("--details", is_flag=True, help="With --bank: everything said of each film, after the table.")
@click.option("--csv", "csv_file", type=answers_file, help="With --bank: write the answers as a table.")
@click.option("--html", "html_file", type=page_file, help="With --bank: write a page with the films to look at.")
@click.option(
    "--per",
    type=click.Choice(["film", "patient"]),
    default="film",
    help="With --bank: patient joins films of one PatientID, or --patient-pattern, into one answer.",
)
@click.option("--resume", is_flag=True, help="With --csv: go on where a run was ended early.")
@click.option(
    "--runtime",
    type=click.Choice(["torch", "onnx"]),
    default="torch",
    expose_value=False,
    help="onnx: --bank is of `fscxr export onnx`, torch is not loaded; `predict --runtime onnx --help` has its flags.",
)
@click.option(
    "--index",
    default="auto",
    type=click.Choice(KINDS),
    help="With --bank: how the nearest exemplars are found; auto takes an index where they are very many.",
)
# A transductive rule would let one film's answer depend on the others.
@rule_flags([name for name in RULES if name not in TRANSDUCTIVE], measures_anyway=True)
@seed_flag
@shards_flags
@batch_compute_flags
@reading_flags
@json_flag
def command(
    *,
    films: tuple[str, ...],
    bank_path: Path | None,
    checkpoint: Path | None,
    weights: Path | None,
    never_abstain: bool,
    prevalence: str | None,
    details: bool,
    csv_file: Path | None,
    html_file: Path | None,
    per: str,
    resume: bool,
    index: str,
    sources: tuple[str, ...],
    support_split: str | None,
    n_exemplars: int,
    n_nearest: int,
    rule: ExemplarRule,
    seed: int,
    sharding: Sharding,
    compute: Compute,
    reading: Reading,
    json_file: str | None,
) -> None:
    """Name the finding of FILMS: files, folders, patterns; - reads a list of them from standard input.

    With a bank each film gets an answer, or a reason why there is none; see `fscxr bank`. Without one, its distance to
    labelled films: smaller is closer, and no probability.

    \b
    Example: fscxr predict new/ --bank clinic.bank --csv answers.csv
             fscxr predict new.png --checkpoint run --support split.csv --n-exemplars 20
             fscxr predict many.csv --bank clinic.bank --shards many --engine ray --csv answers.csv
    """
    if bank_path is not None:
        _refuse(_WITHOUT_BANK)
        if bank_path.suffix == ".onnx":
            raise click.UsageError(f"{bank_path} is a bank that was exported: add --runtime onnx")
        question = BankQuestion(
            never_abstain=never_abstain,
            n_nearest=n_nearest,
            prevalence=None if prevalence is None else parse_prevalence(prevalence),
            per=per,
            patient_pattern=_pattern(reading),
            any_modality=reading.any_modality,
            details=details,
            resume=resume,
            csv_file=csv_file,
            html_file=html_file,
            json_file=json_file,
        )
        bank = replace(SupportBank.load(bank_path, checkpoint, weights=weights), index=index)
        if sharding.folder is not None:
            answer_shards(bank, films, question, sharding, compute=compute, reading=reading)
            return
        answer_by_bank(bank, films, question, compute, index=lambda: bank.exemplars.decider.index)
        return
    if checkpoint is None or not sources:
        raise click.UsageError("name a bank (--bank FILE), or an encoder and labelled films (--checkpoint, --support)")
    given = {"never_abstain": never_abstain, "prevalence": prevalence, "details": details, "csv": csv_file}
    given |= {"html": html_file, "per": per == "patient", "resume": resume, "weights": weights}
    given |= {"index": index != "auto", "shards": sharding.folder}
    if alone := [f"--{name.replace('_', '-')}" for name, value in given.items() if value]:
        raise click.UsageError(f"{', '.join(alone)} {'is' if len(alone) == 1 else 'are'} of a bank: name it (--bank)")
    exemplars = read_support(sources, support_split, n_exemplars, reading, seed=seed)
    how = {"rule": rule, "compute": compute, "reading": reading, "json_file": json_file}
    _by_support(checkpoint, films, exemplars, n_nearest, **how)  # type: ignore[arg-type]  # of their own types


def _refuse(names: set[str]) -> None:
    if refused := [flag for name, flag in given_flags().items() if name in names]:
        told = f"{refused[0]} is" if len(refused) == 1 else f"{', '.join(refused)} are"
        raise click.UsageError(f"{told} of predictions without a bank, which has its own: leave it out, or --bank")


def _pattern(reading: Reading) -> str | None:
    pattern = reading.options.get("patient_pattern")
    return None if pattern is None else str(pattern)


def _by_support(
    checkpoint: Path,
    films: tuple[str, ...],
    exemplars: Records,
    n_nearest: int,
    *,
    rule: ExemplarRule,
    compute: Compute,
    reading: Reading,
    json_file: str | None,
) -> None:
    encoder = load_encoder(checkpoint)
    with bars_for(compute) as compute:
        cached = compute.decode(exemplars, encoder.image_spec, "exemplars")
        known = compute.embed(encoder, cached, "exemplars")
        vectors, read, problems = embed_files(
            encoder,
            named_files(films),
            batch_size=compute.batch_size,
            device=compute.device,
            any_modality=reading.any_modality,
            progress=compute.report("films"),
        )
    rule = rule.for_encoder(encoder, checkpoint)
    predictions = predict(
        vectors,
        [str(path) for path in read],
        known,
        rule=rule.name,
        distance=rule.distance,
        options=rule.options,
        n_nearest=n_nearest,
    )
    predictions = [_that_open(prediction, exemplars.root) for prediction in predictions]
    say_exemplars(exemplars, cached.records)
    say_notes(weights_notes(encoder))
    new = [name for name in exemplars.findings if name not in encoder.card.get("findings", ())]
    for warning in weights_warnings(encoder, exemplars, new):
        say(f"warning: {warning}")
    for problem in problems:
        say(f"left out: {problem.path}: {problem.reason}")
    show_prediction(predictions)
    whose = {"weights": encoder.origin} if encoder.origin else {}
    write_result([prediction.to_json() | whose for prediction in predictions], json_file)


def _that_open(prediction: Prediction, root: Path) -> Prediction:
    """Return the prediction with paths of exemplars that open from here; those of records start at their root."""
    exemplars = tuple(replace(one, path=_from_here(one.path, root)) for one in prediction.exemplars)
    return replace(prediction, exemplars=exemplars)


def _from_here(path: str, root: Path) -> str:
    file = (root / path).resolve()
    try:
        here = Path.cwd()
    except FileNotFoundError:  # the working folder is gone: what opens from anywhere is the whole path
        return file.as_posix()
    if Path(path).resolve() == file:
        return path
    return (file.relative_to(here) if file.is_relative_to(here) else file).as_posix()
