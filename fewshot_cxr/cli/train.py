"""`fscxr train`: encoders and classifiers from films."""

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from fewshot_cxr import training
from fewshot_cxr._kinds import LAST
from fewshot_cxr._ranks import ranks_here
from fewshot_cxr.cli import flags
from fewshot_cxr.cli.app import Group
from fewshot_cxr.cli.console import check_no_run, progress_bars, run_folder, say, say_notes, say_records, write_result
from fewshot_cxr.cli.encoder_flags import (
    ENCODER_NAMES,
    choices,
    chosen_spec,
    encoder_option_flag,
    image_flags,
    start_flags,
)
from fewshot_cxr.cli.launch import Launch, launch_flags
from fewshot_cxr.cli.sources import Reading, read_films, reading_flags
from fewshot_cxr.distances import DISTANCES
from fewshot_cxr.objectives import AUXILIARIES, CLASS_WEIGHTS, CLASSIFICATION_LOSSES, LOSSES, MINERS
from fewshot_cxr.records import Records
from fewshot_cxr.samplers import BALANCES

Trainer = training.SiameseTrainer | training.ClassifierTrainer
_OF_THE_ENCODER = ("embedding_dim", "weights", "pretrained")


@dataclass(frozen=True)
class Run:
    """The films that a run is trained on, its folder, and whether it goes on from there.

    Raises:
        click.UsageError: a run lies there already, and none is to go on.
    """

    source: str
    out: Path
    resume: bool

    def __post_init__(self) -> None:
        if ranks_here().is_first:  # the others may come later than its first checkpoint
            check_no_run(self.out, resume=self.resume)


run_flags = flags.as_one("run", Run, flags.data_flag, flags.run_folder_flag, flags.resume_flag)


def trainer_flags(default: Trainer, *own: flags.Flag) -> flags.Flag:
    """Return what adds all that a trainer is made of, as `trainer`.

    Args:
        default: says which trainer, and what holds where a flag is not given.
        own: flags of this trainer alone.
    """

    def build(*, encoder_options: dict[str, Any], augment: bool, **given: object) -> Trainer:
        settings: dict[str, Any] = {**given} if augment else {**given, "augmentation": None}
        chosen = {name: settings.pop(name, None) for name in _OF_THE_ENCODER}
        encoder_options |= {name: value for name, value in chosen.items() if value}
        if settings.get("keep") is not None and not (encoder_options.keys() & {"pretrained", "weights"}):
            raise click.UsageError(
                f"--keep keeps what an encoder knows, and random weights of {settings['encoder']} know nothing: say "
                "--pretrained, or --weights FILE"
            )
        spec = chosen_spec(settings, default.image_spec, settings["encoder"], encoder_options)
        return type(default)(**settings, image_spec=spec, encoder_options=encoder_options)

    return flags.as_one(
        "trainer", build, _encoder_flags(default), *own, _schedule_flags(default), flags.seed_flag, flags.machine_flags
    )


def _encoder_flags(default: Trainer) -> flags.Flag:
    """Return what says which encoder it is, and what its pixels mean."""
    return flags.several(
        click.option("--encoder", default=default.encoder, help=choices(ENCODER_NAMES)),
        encoder_option_flag,
        start_flags,
        click.option(
            "--freeze",
            callback=_groups,
            help="So many groups of layers from the stem on, or backbone.  [default: none]",
        ),
        click.option(
            "--frozen-views",
            default=1,
            type=click.IntRange(1),
            help="Of a training film where the head alone is trained: as it is, and augmented.",
        ),
        click.option("--layer-decay", default=1.0, help="Of the rate, from the head to the stem."),
        image_flags(default.image_spec),
        click.option("--standardisation", default="spec", help=choices(training.STANDARDISATIONS)),
        click.option("--augment/--no-augment", default=True, help="Of training films."),
    )


def _schedule_flags(default: Trainer) -> flags.Flag:
    """Return what says how the training goes."""
    return flags.several(
        click.option("--epochs", "n_epochs", default=default.n_epochs, type=click.IntRange(1)),
        click.option(
            "--batches",
            "n_batches",
            type=click.IntRange(1),
            help="In an epoch.  [default: about as many as cover the films]",
        ),
        click.option("--optimizer", default=default.optimizer, help=choices(training.OPTIMIZERS)),
        click.option("--lr", default=default.lr, help="Peak learning rate."),
        click.option("--weight-decay", default=default.weight_decay),
        click.option("--clip-value", type=float, help="Largest value in the gradient, beside its norm."),
        click.option("--restart-every", type=click.IntRange(1), help="Epochs after which the optimiser begins anew."),
        click.option("--schedule", default=default.schedule, help=choices(training.SCHEDULES)),
        click.option("--precision", default="auto", help=choices(training.PRECISIONS)),
        click.option(
            "--patience",
            type=click.IntRange(1),
            default=default.patience,
            help="Stop after so many epochs that were no better.",
        ),
        click.option("--max-minutes", type=float, help="Begin no epoch that would end later."),
    )


def _groups(context: click.Context, parameter: click.Parameter, value: str | None) -> int | str:
    """Take a number of groups of layers, or a name."""
    return 0 if value is None else int(value) if value.isdigit() else value


_SIAMESE = training.SiameseTrainer()
_CLASSIFIER = training.ClassifierTrainer()


def _number_or_name(context: click.Context, parameter: click.Parameter, value: str | None) -> float | str | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return value


@click.group(cls=Group)
def command() -> None:
    """Train an encoder, or a classifier."""


@command.command()
@run_flags
@launch_flags
@trainer_flags(
    _SIAMESE,
    click.option("--embedding-dim", type=click.IntRange(2), help="Of the head.  [default: the encoder's]"),
    click.option("--loss", default=_SIAMESE.loss, help=choices(LOSSES)),
    click.option("--miner", help=f"{choices(MINERS)}  [default: the loss's own]"),
    click.option("--distance", default=_SIAMESE.distance, help=choices(DISTANCES)),
    click.option("--margin", type=float, help="Of the loss.  [default: the loss's own]"),
    click.option("--memory", default=0, help="Embeddings of earlier batches to compare with, too."),
    click.option("--aux", help=f"Self-supervised term beside the loss: {choices(AUXILIARIES)}  [default: none]"),
    click.option("--aux-weight", default=_SIAMESE.aux_weight),
    click.option("--sampler", help=f"{choices(training.SAMPLERS)}  [default: the loss's own]"),
    click.option("--batch-size", default=_SIAMESE.batch_size, type=click.IntRange(4)),
    click.option("--n-way", type=click.IntRange(2), help="Of episodic batches.  [default: all findings]"),
    click.option("--n-shot", default=_SIAMESE.n_shot, help="Of episodic batches."),
    click.option(
        "--keep",
        callback=_number_or_name,
        help="Keep a published encoder as it is, and fit a head beside it, without training: its weight, or auto.",
    ),
)
@reading_flags
@flags.json_flag
def siamese(
    *, run: Run, launch: Launch, trainer: training.SiameseTrainer, reading: Reading, json_file: str | None
) -> None:
    """Train an embedding by metric learning, on the films of the split `train`, judged on `val`.

    Without a split column all films are for training, and a validation part is carved out, by patient.

    \b
    Example: fscxr train siamese --data split.csv --encoder resnet9 --image-size 96 --epochs 30 --out run
    """
    launch.carry_out(
        partial(_train, trainer, run, reading, json_file, next_command="episode-eval --checkpoint"), last=run.out / LAST
    )


@command.command()
@run_flags
@launch_flags
@trainer_flags(
    _CLASSIFIER,
    click.option("--loss", default=_CLASSIFIER.loss, help=choices(CLASSIFICATION_LOSSES)),
    click.option("--multi-label", "is_multi_label", is_flag=True, help="A film may show several findings: --loss bce."),
    click.option("--class-weights", help=f"Of the loss: {choices(CLASS_WEIGHTS)}  [default: none]"),
    click.option("--balance", default="none", help=f"Of an epoch's films: {choices(BALANCES)}"),
    click.option("--head-bias/--no-head-bias", default=True),
    click.option("--batch-size", default=_CLASSIFIER.batch_size, type=click.IntRange(2)),
    click.option("--monitor", default=_CLASSIFIER.monitor, help=choices(training.MONITORS)),
)
@reading_flags
@flags.json_flag
def classifier(
    *, run: Run, launch: Launch, trainer: training.ClassifierTrainer, reading: Reading, json_file: str | None
) -> None:
    """Train an encoder with a linear classifier, on the films of the split `train`, judged on `val`.

    Its run folder serves where an encoder is wanted, too. To go on from another run: --weights RUN/encoder.safetensors.

    \b
    Example: fscxr train classifier --data split.csv --encoder resnet18 --image-size 96 --epochs 10 --out run
    """
    launch.carry_out(
        partial(_train, trainer, run, reading, json_file, next_command="evaluate --classifier"), last=run.out / LAST
    )


def _train(trainer: Trainer, run: Run, reading: Reading, json_file: str | None, *, next_command: str) -> None:
    is_several = isinstance(trainer, training.ClassifierTrainer) and trainer.is_multi_label
    is_first = ranks_here().is_first
    folder = run_folder(run.out, resume=run.resume) if is_first else nullcontext()
    with folder:  # from here on, so that nobody else begins while the films are read
        records = read_films(run.source, reading, single_label=not is_several, several=is_several)
        say_records(records)
        train, val = _parts(records)
        with progress_bars() as progress:
            trained = trainer.fit(train, val, out=run.out, resume=run.resume, progress=progress)
    if not is_first:
        return
    say_notes(trained.notes)
    card = trained.card
    seconds = sum(row["seconds"] for row in trained.history)
    accuracy = "" if card["val_accuracy"] is None else f", validation accuracy {100 * card['val_accuracy']:.1f} %"
    if trained.history:
        say(f"{len(trained.history)} epochs in {seconds:.0f} s; best epoch {card['best_epoch']}{accuracy}")
    say(f"written: {run.out} (next: fscxr {next_command} {run.out} --data ... --split test)")
    write_result({"card": card, "history": list(trained.history), "notes": list(trained.notes)}, json_file)


def _parts(records: Records) -> tuple[Records, Records | None]:
    splits = {film.split for film in records}
    if splits == {None}:
        say("note: no film states a split: all are for training")
        return records, None
    if unstated := records.where(lambda film: film.split is None):
        counts = ", ".join(f"{name} {count}" for name, count in unstated.count_findings().items())
        say(f"note: not trained on: {len(unstated)} films that state no split ({counts})")
    return records.of_split("train"), records.of_split("val") if "val" in splits else None
