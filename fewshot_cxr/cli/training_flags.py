"""Flags that both trainings share, and how they become a trainer's settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fewshot_cxr.cli.console import check_no_run
from fewshot_cxr.cli.encoder_flags import (
    ENCODER_NAMES,
    choices,
    chosen_spec,
    encoder_option_flag,
    image_flags,
    start_flags,
)
from fewshot_cxr.cli.flags import (
    Flag,
    as_one,
    data_flag,
    machine_flags,
    resume_flag,
    run_folder_flag,
    seed_flag,
    several,
)
from fewshot_cxr.training import OPTIMIZERS, PRECISIONS, SCHEDULES, STANDARDISATIONS, ClassifierTrainer, SiameseTrainer

Trainer = SiameseTrainer | ClassifierTrainer
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
        check_no_run(self.out, resume=self.resume)


run_flags = as_one("run", Run, data_flag, run_folder_flag, resume_flag)


def trainer_flags(default: Trainer, *flags: Flag) -> Flag:
    """Return what adds all that a trainer is made of, as `trainer`.

    Args:
        default: says which trainer, and what holds where a flag is not given.
        flags: of this trainer alone.
    """

    def build(*, encoder_options: dict[str, Any], augment: bool, **given: object) -> Trainer:
        settings: dict[str, Any] = {**given} if augment else {**given, "augmentation": None}
        chosen = {name: settings.pop(name, None) for name in _OF_THE_ENCODER}
        encoder_options |= {name: value for name, value in chosen.items() if value}
        spec = chosen_spec(settings, default.image_spec, settings["encoder"], encoder_options)
        return type(default)(**settings, image_spec=spec, encoder_options=encoder_options)

    return as_one("trainer", build, _encoder_flags(default), *flags, _schedule_flags(default), seed_flag, machine_flags)


def _encoder_flags(default: Trainer) -> Flag:
    """Return what says which encoder it is, and what its pixels mean."""
    return several(
        click.option("--encoder", default=default.encoder, show_default=True, help=choices(ENCODER_NAMES)),
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
            show_default=True,
            type=click.IntRange(1),
            help="Of a training film where the head alone is trained: as it is, and augmented.",
        ),
        click.option("--layer-decay", default=1.0, show_default=True, help="Of the rate, from the head to the stem."),
        image_flags(default.image_spec),
        click.option("--standardisation", default="spec", show_default=True, help=choices(STANDARDISATIONS)),
        click.option("--augment/--no-augment", default=True, show_default=True, help="Of training films."),
    )


def _schedule_flags(default: Trainer) -> Flag:
    """Return what says how the training goes."""
    return several(
        click.option("--epochs", "n_epochs", default=default.n_epochs, show_default=True, type=click.IntRange(1)),
        click.option(
            "--batches",
            "n_batches",
            type=click.IntRange(1),
            help="In an epoch.  [default: about as many as cover the films]",
        ),
        click.option("--optimizer", default=default.optimizer, show_default=True, help=choices(OPTIMIZERS)),
        click.option("--lr", default=default.lr, show_default=True, help="Peak learning rate."),
        click.option("--weight-decay", default=default.weight_decay, show_default=True),
        click.option("--clip-value", type=float, help="Largest value in the gradient, beside its norm."),
        click.option("--restart-every", type=click.IntRange(1), help="Epochs after which the optimiser begins anew."),
        click.option("--schedule", default=default.schedule, show_default=True, help=choices(SCHEDULES)),
        click.option("--precision", default="auto", show_default=True, help=choices(PRECISIONS)),
        click.option(
            "--patience",
            type=click.IntRange(1),
            default=default.patience,
            show_default=default.patience is not None,
            help="Stop after so many epochs that were no better.",
        ),
        click.option("--max-minutes", type=float, help="Begin no epoch that would end later."),
    )


def _groups(context: click.Context, parameter: click.Parameter, value: str | None) -> int | str:
    """Take a number of groups of layers, or a name."""
    return 0 if value is None else int(value) if value.isdigit() else value
