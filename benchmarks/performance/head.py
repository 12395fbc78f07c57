"""A head on the vectors of a frozen backbone, against the same training end to end with the backbone frozen.

    python benchmarks/performance/head.py [--device cuda] [--json FILE] [--smoke]

`fit` with freeze="backbone" embeds each film once and trains on the vectors; the other way embeds each film in every
epoch. Its first batches are measured, and the rest of its epochs follow from them: it would take hours.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from fit import N_VAL, made_films
from question import Answer, Mark, settings, tell

from fewshot_cxr import ImageSpec, SiameseTrainer, build_encoder
from fewshot_cxr.inference import choose_device
from fewshot_cxr.objectives import build_loss

N_FILMS, N_EPOCHS, BATCH = 1_000, 100, 48
ENCODER, SIZE, N_MEASURED = "timm:efficientnet_b0", 224, 4  # batches of the way end to end


def end_to_end(encoder_name: str, size_px: int, device: torch.device, n_batches: int) -> float:
    """Return the seconds of a step that embeds its films by a frozen backbone and trains the head."""
    encoder = build_encoder(encoder_name, image_spec=ImageSpec(size_px=size_px))
    encoder.freeze(None)
    encoder = encoder.to(device, memory_format=torch.channels_last).train()
    loss_of = build_loss("supcon", n_classes=3, embedding_dim=encoder.embedding_dim, distance="cosine")
    trained = [weight for weight in encoder.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-3)
    images = torch.rand(BATCH, 1, size_px, size_px, device=device).to(memory_format=torch.channels_last)
    class_ids = torch.arange(BATCH, device=device) % 3
    seconds = []
    for _ in range(n_batches + 1):
        start = perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss_of(encoder(images), class_ids).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(perf_counter() - start)
    return sum(seconds[1:]) / n_batches  # the first one asks for its memory


def main() -> int:
    """Ask both ways, and tell the table."""
    arguments = settings(__doc__).parse_args()
    name, size_px, n_films, n_epochs = ENCODER, SIZE, N_FILMS, N_EPOCHS
    if arguments.smoke:
        name, size_px, n_films, n_epochs = "resnet9", 32, 48, 2
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        train, val = made_films(folder, n_films, size_px)
        fit = partial(
            SiameseTrainer,
            encoder=name,
            image_spec=ImageSpec(size_px=size_px),
            freeze="backbone",
            augmentation=None,
            precision="32-true",
            n_epochs=n_epochs,
            batch_size=BATCH,
            device=arguments.device,
            cache_folder=folder / "cache",
        )
        loading = fit(n_epochs=1, n_batches=1, cache_folder=folder / "another cache")
        loading.fit(train.take(range(12)), val, progress=None)
        step = end_to_end(name, size_px, choose_device(arguments.device), 1 if arguments.smoke else N_MEASURED)
        start = perf_counter()
        trained = fit().fit(train, val, out=folder / "run", progress=None)
        whole = perf_counter() - start
    on_vectors = sum(row["seconds"] for row in trained.history)
    other = step * trained.history[-1]["step"]
    rows = [
        (f"end to end, {n_epochs} epochs, from {step:.2f} s a step", f"{other:,.0f} s", "1"),
        ("whole fit: decoding, embedding once, the head", f"{whole:,.1f} s", f"{other / whole:,.0f}"),
        ("of it the head on the vectors, with validation", f"{on_vectors:,.1f} s", f"{other / on_vectors:,.0f}"),
    ]
    note = f"{name}, {size_px} px, {n_films} films, {N_VAL} for validation, batches of {BATCH}, {n_epochs} epochs."
    marks = [Mark("whole fit, times as fast as end to end", other / whole, 50)]
    title = "A head on frozen vectors against end-to-end training with a frozen backbone"
    tell(Answer(title, ("work", "time", "times as fast"), rows, marks, note), arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
