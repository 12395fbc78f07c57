"""What a whole `fit` costs over a bare PyTorch loop: reading, batches, validation, the best epoch, the run folder.

    python benchmarks/performance/fit.py [--device cuda] [--json FILE] [--smoke]

The bare loop holds all films in memory as a tensor, takes the same batches, the same loss, optimiser, schedule and
clipping, in the same precision, and embeds the validation films after each epoch; it augments, averages, logs and keeps
nothing. `fit` is asked with its defaults, from a cache of decoded films, into a run folder.
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from question import Answer, Mark, ratio, seconds_in_turn, settings, tell

from fewshot_cxr import ImageSpec, SiameseTrainer, build_encoder
from fewshot_cxr.data import XrayDataset, cache_films
from fewshot_cxr.inference import choose_device, native_precision
from fewshot_cxr.objectives import build_loss
from fewshot_cxr.records import Record, Records
from fewshot_cxr.samplers import BalancedBatchSampler

NETWORKS = {  # encoder, size, films to train on, batch, epochs
    "resnet9, 96 px": ("resnet9", 96, 576, 48, 3),
    "efficientnet_b0, 224 px": ("timm:efficientnet_b0", 224, 96, 16, 2),
}
SMOKE = {"resnet9, 32 px": ("resnet9", 32, 48, 12, 1)}
N_VAL, N_REPEATS = 30, 3
FULL, MIXED = "32-true", "bf16-mixed"


def made_films(folder: Path, n_films: int, size_px: int) -> tuple[Records, Records]:
    """Write noise of three gray levels; return films to train on and to validate with."""
    draw, films = np.random.default_rng(0), []
    for number in range(n_films + N_VAL):
        image = draw.normal(80 + 40 * (number % 3), 30, (size_px, size_px)).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{number:05d}.png")
        films.append(Record(f"{number:05d}.png", ("abc"[number % 3],), patient_id=str(number)))
    return Records(tuple(films[:n_films]), folder), Records(tuple(films[n_films:]), folder)


def bare_loop(trainer: SiameseTrainer, train: XrayDataset, val: XrayDataset, precision: str) -> None:
    """Train as `trainer` does, on tensors in memory."""
    device, spec = choose_device(trainer.device), trainer.image_spec
    encoder = build_encoder(trainer.encoder, image_spec=spec).to(device, memory_format=torch.channels_last)
    loss_of = build_loss(trainer.loss, n_classes=3, embedding_dim=encoder.embedding_dim, distance="cosine")
    images, val_images = (_in_memory(films, spec, device) for films in (train, val))
    class_ids = torch.from_numpy(train.class_ids).to(device)
    sampler = BalancedBatchSampler(train.class_ids, train.group_ids, batch_size=trainer.batch_size)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=trainer.lr, weight_decay=trainer.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, trainer.lr, total_steps=len(sampler) * trainer.n_epochs + 1
    )
    mixed = partial(torch.autocast, device.type, torch.bfloat16, enabled=precision == MIXED)
    for _ in range(trainer.n_epochs):
        encoder.train()
        for rows in sampler:
            with mixed():
                embeddings = encoder(images[rows].to(memory_format=torch.channels_last))
            loss = loss_of(embeddings.float(), class_ids[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        encoder.eval()
        with torch.inference_mode():
            encoder(val_images)


def _in_memory(films: XrayDataset, spec: ImageSpec, device: torch.device) -> torch.Tensor:
    pixels = torch.from_numpy(films.films.rows(np.arange(len(films)))).unsqueeze(1).float() / 255
    return ((pixels - spec.mean[0]) / spec.std[0]).to(device, memory_format=torch.channels_last)


def ask_network(name: str, recipe: tuple[str, int, int, int, int], device: str, *, n_repeats: int) -> Answer:
    """Measure the loop, `fit` without and with augmentation, and with automatic precision where that is another."""
    encoder, size_px, n_films, batch_size, n_epochs = recipe
    with tempfile.TemporaryDirectory() as place:
        folder, cache = Path(place), Path(place) / "cache"
        train, val = made_films(folder, n_films, size_px)
        trainer = SiameseTrainer(
            encoder=encoder,
            image_spec=ImageSpec(size_px=size_px),
            batch_size=batch_size,
            n_epochs=n_epochs,
            device=device,
            cache_folder=cache,
        )
        decoded = [cache_films(part, trainer.image_spec, folder=cache) for part in (train, val)]
        films = [XrayDataset(part, ("a", "b", "c")) for part in decoded]
        fits = {
            "fit, no augmentation": replace(trainer, precision=FULL, augmentation=None),
            "fit, augmentation": replace(trainer, precision=FULL),
        }
        has_bf16 = native_precision(choose_device(device)) == MIXED
        if has_bf16:
            fits["fit, automatic precision"] = replace(trainer, augmentation=None)
        counter = count()
        works = {"bare loop": partial(bare_loop, trainer, *films, FULL)}
        works |= {key: partial(_fit, one, train, val, folder, counter) for key, one in fits.items()}
        _fit(replace(fits["fit, augmentation"], n_epochs=1, n_batches=2), train, val, folder, counter)  # loads all
        found = seconds_in_turn(works, n_repeats, device, warm_up=0)
    return _answer(name, found, f"{n_films} films, batches of {batch_size}, {n_epochs} epochs", has_bf16=has_bf16)


def _fit(trainer: SiameseTrainer, train: Records, val: Records, folder: Path, counter: Iterator[int]) -> None:
    trainer.fit(train, val, out=folder / f"run{next(counter)}", progress=None)


def _answer(name: str, found: dict[str, list[float]], sizes: str, *, has_bf16: bool) -> Answer:
    bare, rows, marks = found["bare loop"], [], []
    bounds = {"fit, no augmentation": 1.05, "fit, augmentation": 1.15}
    for way, seconds in found.items():
        times = ratio(seconds, bare)
        rows.append((f"{name}: {way}", f"{np.median(seconds):.1f} s", f"{times:.3f}"))
        if way in bounds:
            marks.append(Mark(f"{name}: {way}, times the bare loop", times, bounds[way], at_most=True))
        elif way != "bare loop":
            marks.append(Mark(f"{name}: {way}, as fast as the float32 loop", 1 / times, 1.5))
    if not has_bf16:
        rows.append((f"{name}: fit, automatic precision", "float32: no bf16 here", "-"))
    heads = "work", "median", "of the loop"
    return Answer("Training: a whole fit against a bare PyTorch loop", heads, rows, marks, sizes)


def main() -> int:
    """Ask each network, and tell one table."""
    arguments = settings(__doc__).parse_args()
    recipes = SMOKE if arguments.smoke else NETWORKS
    n_repeats = 1 if arguments.smoke else N_REPEATS
    answers = [ask_network(name, recipe, arguments.device, n_repeats=n_repeats) for name, recipe in recipes.items()]
    rows, marks = ([item for one in answers for item in getattr(one, part)] for part in ("rows", "marks"))
    note = "; ".join(f"{name}: {one.note}" for name, one in zip(recipes, answers, strict=True))
    note += f"; {N_VAL} validation films; seed 0; the whole of each is measured, {n_repeats} times in turn."
    tell(replace(answers[0], rows=rows, marks=marks, note=note), arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
