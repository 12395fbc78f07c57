"""`fscxr train`: encoders and classifiers from films."""

from pathlib import Path
from typing import Any

import click

from fewshot_cxr.cli.console import progress_bars, say, say_records, write_provenance, write_result
from fewshot_cxr.cli.flags import json_flag, machine_flags, seed_flag, set_threads
from fewshot_cxr.cli.sources import read_films, reading_flags, take_reading
from fewshot_cxr.cli.training_flags import (
    choices,
    course_flags,
    encoder_flags,
    film_flags,
    refuse_old_run,
    trainer_settings,
)
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.objectives import AUXILIARIES, CLASS_WEIGHTS, CLASSIFICATION_LOSSES, LOSSES, MINERS
from fewshot_cxr.records import Records
from fewshot_cxr.samplers import BALANCES
from fewshot_cxr.training import (
    MONITORS,
    SAMPLERS,
    ClassifierTrainer,
    SiameseTrainer,
    TrainedClassifier,
    TrainedEncoder,
)

_SIAMESE = SiameseTrainer()
_CLASSIFIER = ClassifierTrainer()


@click.group()
def command() -> None:
    """Train an encoder, or a classifier."""


@command.command()
@film_flags
@encoder_flags(_SIAMESE)
@click.option("--embedding-dim", type=click.IntRange(2), help="Of the head.  [default: the encoder's]")
@click.option("--loss", default=_SIAMESE.loss, show_default=True, help=choices(LOSSES))
@click.option("--miner", help=f"{choices(MINERS)}  [default: the loss's own]")
@click.option("--distance", default=_SIAMESE.distance, show_default=True, help=choices(DISTANCES))
@click.option("--margin", type=float, help="Of the loss.  [default: the loss's own]")
@click.option("--memory", default=0, show_default=True, help="Embeddings of earlier batches to compare with, too.")
@click.option("--aux", help=f"Self-supervised term beside the loss: {choices(AUXILIARIES)}  [default: none]")
@click.option("--aux-weight", default=_SIAMESE.aux_weight, show_default=True)
@click.option("--sampler", help=f"{choices(SAMPLERS)}  [default: the loss's own]")
@click.option("--batch-size", default=_SIAMESE.batch_size, show_default=True, type=click.IntRange(4))
@click.option("--n-way", type=click.IntRange(2), help="Of episodic batches.  [default: all findings]")
@click.option("--n-shot", default=_SIAMESE.n_shot, show_default=True, help="Of episodic batches.")
@course_flags(_SIAMESE)
@seed_flag
@machine_flags
@reading_flags
@json_flag
def siamese(source: str, out: Path, resume: bool, threads: int | None, json_file: str | None, **options: Any) -> None:
    """Train an embedding by metric learning, on the films of the split `train`, judged on `val`.

    Without a split column all films are for training, and a validation part is carved out, by patient.

    \b
    Example: fscxr train siamese --data split.csv --encoder resnet9 --image-size 96 --epochs 30 --out run
    """
    set_threads(threads)
    reading = take_reading(options)
    trainer = SiameseTrainer(**trainer_settings(options))
    refuse_old_run(out, resume)
    records = read_films(source, reading, single_label=True)
    say_records(records)
    train, val = _parts(records)
    write_provenance(out, resume=resume)
    with progress_bars() as progress:
        trained = trainer.fit(train, val, out=out, resume=resume, progress=progress)
    _show(trained, out, f"fscxr episode-eval --checkpoint {out} --data ... --split test")
    write_result(_plain(trained), json_file)


@command.command()
@film_flags
@encoder_flags(_CLASSIFIER)
@click.option("--loss", default=_CLASSIFIER.loss, show_default=True, help=choices(CLASSIFICATION_LOSSES))
@click.option("--multi-label", "is_multi_label", is_flag=True, help="A film may show several findings: --loss bce.")
@click.option("--class-weights", help=f"Of the loss: {choices(CLASS_WEIGHTS)}  [default: none]")
@click.option("--balance", default="none", show_default=True, help=f"Of an epoch's films: {choices(BALANCES)}")
@click.option("--head-bias/--no-head-bias", default=True, show_default=True)
@click.option("--batch-size", default=_CLASSIFIER.batch_size, show_default=True, type=click.IntRange(2))
@click.option("--monitor", default=_CLASSIFIER.monitor, show_default=True, help=choices(MONITORS))
@course_flags(_CLASSIFIER)
@seed_flag
@machine_flags
@reading_flags
@json_flag
def classifier(
    source: str, out: Path, resume: bool, threads: int | None, json_file: str | None, **options: Any
) -> None:
    """Train an encoder with a linear classifier, on the films of the split `train`, judged on `val`.

    Its run folder serves where an encoder is wanted, too. To go on from another run: --weights RUN/encoder.safetensors.

    \b
    Example: fscxr train classifier --data split.csv --encoder resnet18 --image-size 96 --epochs 10 --out run
    """
    set_threads(threads)
    reading = take_reading(options)
    trainer = ClassifierTrainer(**trainer_settings(options))
    refuse_old_run(out, resume)
    is_several = trainer.is_multi_label
    records = read_films(source, reading, single_label=not is_several, several=is_several)
    say_records(records)
    train, val = _parts(records)
    write_provenance(out, resume=resume)
    with progress_bars() as progress:
        trained = trainer.fit(train, val, out=out, resume=resume, progress=progress)
    _show(trained, out, f"fscxr evaluate --classifier {out} --data ... --split test")
    write_result(_plain(trained), json_file)


def _parts(records: Records) -> tuple[Records, Records | None]:
    splits = {film.split for film in records}
    if splits == {None}:
        say("note: no film states a split: all are for training")
        return records, None
    return records.of_split("train"), records.of_split("val") if "val" in splits else None


def _show(trained: TrainedEncoder | TrainedClassifier, out: Path, advice: str) -> None:
    for note in trained.notes:
        say(f"note: {note}")
    card = trained.card
    seconds = sum(row["seconds"] for row in trained.history)
    accuracy = "" if card["val_accuracy"] is None else f", validation accuracy {100 * card['val_accuracy']:.1f} %"
    say(f"{len(trained.history)} epochs in {seconds:.0f} s; best epoch {card['best_epoch']}{accuracy}")
    say(f"written: {out} (next: {advice})")


def _plain(trained: TrainedEncoder | TrainedClassifier) -> dict[str, Any]:
    return {"card": trained.card, "history": list(trained.history), "notes": list(trained.notes)}
