"""`fscxr predict`: what is nearest to a new film, and which exemplars say so."""

from dataclasses import replace
from pathlib import Path

import click

from fewshot_cxr.cli.console import bars_for, say, say_notes, write_result
from fewshot_cxr.cli.exemplars import SOURCE_HELP, read_support, rule_flags, say_exemplars, support_split_flag
from fewshot_cxr.cli.flags import batch_compute_flags, checkpoint_flag, json_flag, seed_flag, there_path
from fewshot_cxr.cli.results import show_prediction
from fewshot_cxr.cli.sources import Reading, reading_flags
from fewshot_cxr.data import find_films
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.inference import RULES, TRANSDUCTIVE, Prediction, embed_files, predict
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.weights_seen import weights_notes, weights_warnings


@click.command()
@click.argument("films", nargs=-1, required=True, type=there_path)
@checkpoint_flag
@click.option("--support", "sources", required=True, multiple=True, help=f"Labelled films: {SOURCE_HELP}; repeat it.")
@support_split_flag
@click.option(
    "--n-exemplars", default=20, show_default=True, type=click.IntRange(1), help="Per finding, drawn by seed."
)
@click.option("--n-nearest", default=3, show_default=True, type=click.IntRange(1), help="Exemplars shown.")
# A transductive rule would let one film's answer depend on the others.
@rule_flags([name for name in RULES if name not in TRANSDUCTIVE], measures_anyway=True)
@seed_flag
@batch_compute_flags
@reading_flags
@json_flag
def command(
    *,
    films: tuple[Path, ...],
    checkpoint: Path,
    sources: tuple[str, ...],
    support_split: str | None,
    n_exemplars: int,
    n_nearest: int,
    rule: ExemplarRule,
    seed: int,
    compute: Compute,
    reading: Reading,
    json_file: str | None,
) -> None:
    """Name the finding of FILMS (files, or folders of films) by their distance to labelled exemplars.

    Distances are in the unit of the embedding: smaller is closer. They are not probabilities.

    \b
    Example: fscxr predict new.png --checkpoint run --support split.csv --n-exemplars 20
    """
    encoder = load_encoder(checkpoint)
    exemplars = read_support(sources, support_split, n_exemplars, reading, seed=seed)
    with bars_for(compute) as compute:
        cached = compute.decode(exemplars, encoder.image_spec, "exemplars")
        known = compute.embed(encoder, cached, "exemplars")
        vectors, read, problems = embed_files(
            encoder,
            _files(films),
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
    show_prediction(predictions, to_stderr=json_file == "-")
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


def _files(films: tuple[Path, ...]) -> list[Path]:
    """Return the films that are named, and those in the folders that are, each once; what else lies there is said."""
    files: list[Path] = []
    for path in films:
        inside, notes, problems = find_films(path) if path.is_dir() else ([path], (), [])
        say_notes(f"{path}: {note}" for note in notes)
        for problem in problems:
            say(f"left out: {path / problem.path}: {problem.reason}")
        files += inside
    return list(dict.fromkeys(files))
