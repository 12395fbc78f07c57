"""`fscxr encoder`: encoders that need no training."""

from pathlib import Path
from typing import Any

import click

from fewshot_cxr._kinds import CARD
from fewshot_cxr.cli.app import Group
from fewshot_cxr.cli.console import run_folder, say, write_result
from fewshot_cxr.cli.encoder_flags import chosen_spec, encoder_option_flag, image_flags, start_flags
from fewshot_cxr.cli.flags import as_one, json_flag, run_folder_flag, seed_flag
from fewshot_cxr.encoders import ENCODER_FILE, build_encoder, frozen_card, save_encoder
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.whole_files import write_json


@click.group(cls=Group)
def command() -> None:
    """Make an encoder from published weights, without training.

    \b
    Example: fscxr encoder make efficientnet_lite0 --pretrained --image-size 320 --out lite0
    """


@command.command()
@click.argument("name")
@start_flags
@click.option("--random", "is_random", is_flag=True, help="Take random weights, as a baseline.")
@encoder_option_flag
@as_one("image", dict, image_flags(ImageSpec()))
@run_folder_flag
@seed_flag
@json_flag
def make(
    *,
    name: str,
    is_random: bool,
    encoder_options: dict[str, Any],
    out: Path,
    seed: int,
    json_file: str | None,
    weights: str | None,
    pretrained: bool,
    image: dict[str, Any],
) -> None:
    """Write a run folder with an encoder that is not trained: its pooled features are the embeddings.

    NAME is one of those of `fscxr train siamese --encoder`. Size, channels, filter, mean and std are those that the
    weights were made for, unless flags say otherwise. Every command that takes --checkpoint takes the folder.

    \b
    Example: fscxr encoder make efficientnet_lite0 --pretrained --image-size 320 --out lite0
             fscxr encoder make timm:vit_small_patch16_224 --weights model.safetensors --out vit
    """
    if (pretrained, weights is not None, is_random).count(True) != 1:
        raise click.UsageError("say what the encoder starts from: --pretrained, --weights FILE, or --random")
    start = {key: value for key, value in {"weights": weights, "pretrained": pretrained}.items() if value}
    with run_folder(out):
        spec = chosen_spec(image, ImageSpec(), name, start)
        options = {"output": "pooled", **encoder_options, **start}
        encoder = build_encoder(name, image_spec=spec, seed=seed, **options)
        card = frozen_card(encoder)
        save_encoder(encoder, out / ENCODER_FILE, card=card)
        write_json(out / CARD, card)
    spec = encoder.image_spec
    mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (spec.mean, spec.std))
    say(f"images: {spec.size_px} px, {spec.n_channels} channels, {spec.resize}, mean {mean}, std {std}")
    say(f"written: {out}, dim {encoder.embedding_dim} (next: fscxr episode-eval --checkpoint {out} --data ...)")
    write_result({"card": card}, json_file)
