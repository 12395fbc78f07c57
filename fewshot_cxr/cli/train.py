"""`fscxr train`: encoders from films."""

from pathlib import Path
from typing import Any

import click

from fewshot_cxr.cli.console import progress_bars, say, say_records, write_result
from fewshot_cxr.cli.flags import json_flag, machine_flags, seed_flag, set_threads
from fewshot_cxr.cli.sources import read_films, reading_flags, take_reading
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.encoders import ENCODERS
from fewshot_cxr.image_spec import CROPS, ImageSpec
from fewshot_cxr.objectives import LOSSES, MINERS
from fewshot_cxr.records import Records
from fewshot_cxr.training import SCHEDULES, SiameseTrainer, TrainedEncoder

_DEFAULT = SiameseTrainer()


def _choices(names: Any) -> str:
    return f"{', '.join(names)}."


@click.group()
def command() -> None:
    """Train an encoder."""


@command.command()
@click.option(
    "--data",
    "source",
    required=True,
    help="Manifest CSV, image folder, or NAME:PATH (names and flags: data read --help).",
)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The run folder to write.")
@click.option("--resume", is_flag=True, help="Go on from OUT/last.ckpt, with the same settings.")
@click.option("--encoder", default=_DEFAULT.encoder, show_default=True, help=_choices([*ENCODERS, "timm:<any name>"]))
@click.option("--encoder-option", "encoder_options", multiple=True, metavar="NAME=VALUE", help="Such as width=64.")
@click.option("--pretrained", is_flag=True, help="timm encoders: take the published weights.")
@click.option("--weights", type=click.Path(exists=True, dir_okay=False), help="Start from this file of weights.")
@click.option("--embedding-dim", type=click.IntRange(2), help="Of the head.  [default: the encoder's]")
@click.option("--image-size", default=_DEFAULT.image_spec.size_px, show_default=True, help="Side in pixels.")
@click.option("--channels", default=1, show_default=True, help="1, or 3 for weights of colour pictures.")
@click.option(
    "--crop", default="square", show_default=True, type=click.Choice(CROPS), help="How a film becomes square."
)
@click.option("--bit-depth", type=click.IntRange(8, 16), help="Of 16-bit files.  [default: from each file's maximum]")
@click.option("--loss", default=_DEFAULT.loss, show_default=True, help=_choices(LOSSES))
@click.option("--miner", help=f"{_choices(MINERS)}  [default: the loss's own]")
@click.option("--distance", default=_DEFAULT.distance, show_default=True, help=_choices(DISTANCES))
@click.option("--margin", type=float, help="Of the loss.  [default: the loss's own]")
@click.option("--augment/--no-augment", default=True, show_default=True, help="Of training films.")
@click.option("--epochs", "n_epochs", default=_DEFAULT.n_epochs, show_default=True, type=click.IntRange(1))
@click.option("--batch-size", default=_DEFAULT.batch_size, show_default=True, type=click.IntRange(4))
@click.option("--lr", default=_DEFAULT.lr, show_default=True, help="Peak learning rate of AdamW.")
@click.option("--weight-decay", default=_DEFAULT.weight_decay, show_default=True)
@click.option("--schedule", default=_DEFAULT.schedule, show_default=True, help=_choices(SCHEDULES))
@click.option("--precision", default="auto", show_default=True, help="auto, 32-true or bf16-mixed.")
@click.option("--patience", type=click.IntRange(1), help="Stop after so many epochs without a better accuracy.")
@click.option("--max-minutes", type=float, help="Begin no epoch that would end later.")
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
    trainer = SiameseTrainer(**_settings(options))
    if not resume and (out / "last.ckpt").exists():
        raise click.UsageError(f"--out {out} holds a run already: add --resume, or name another folder")
    records = read_films(source, reading, single_label=True)
    say_records(records)
    train, val = _parts(records)
    with progress_bars() as progress:
        trained = trainer.fit(train, val, out=out, resume=resume, progress=progress)
    _show(trained, out)
    write_result({"card": trained.card, "history": list(trained.history), "notes": list(trained.notes)}, json_file)


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    spec = ImageSpec(
        size_px=options.pop("image_size"),
        n_channels=options.pop("channels"),
        crop=options.pop("crop"),
        bit_depth=options.pop("bit_depth"),
    )
    encoder_options: dict[str, Any] = dict(_option(text) for text in options.pop("encoder_options"))
    for name in ("embedding_dim", "weights"):
        value = options.pop(name)
        encoder_options |= {} if value is None else {name: value}
    encoder_options |= {"pretrained": True} if options.pop("pretrained") else {}
    if not options.pop("augment"):
        options["augmentation"] = None
    return {**options, "image_spec": spec, "encoder_options": encoder_options}


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--encoder-option {text}: NAME=VALUE was expected")
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, {"true": True, "false": False}.get(value.lower(), value)


def _parts(records: Records) -> tuple[Records, Records | None]:
    splits = {film.split for film in records}
    if splits == {None}:
        say("note: no film states a split: all are for training")
        return records, None
    return records.of_split("train"), records.of_split("val") if "val" in splits else None


def _show(trained: TrainedEncoder, out: Path) -> None:
    for note in trained.notes:
        say(f"note: {note}")
    card = trained.card
    seconds = sum(row["seconds"] for row in trained.history)
    accuracy = "" if card["val_accuracy"] is None else f", validation accuracy {100 * card['val_accuracy']:.1f} %"
    say(f"{len(trained.history)} epochs in {seconds:.0f} s; best epoch {card['best_epoch']}{accuracy}")
    say(f"written: {out} (next: fscxr episode-eval --checkpoint {out} --data ... --split test)")
