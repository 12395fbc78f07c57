"""DarkCovidNet, the network that was published with the films of cxr3, and its training on some of them.

Source: Ozturk et al., "Automated detection of COVID-19 cases using deep neural networks with X-ray images", 2020,
doi:10.1016/j.compbiomed.2020.103792, section 3 and table 2: 17 convolutions, leaky ReLU, 256 px, batches of 32, Adam at
3e-3, 100 epochs, five folds of films. What it leaves open is fastai's usual way of its day: both sides squeezed to 256,
one cycle of the rate, the films turned, enlarged, mirrored and lit otherwise, weight decay of 0.01.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fewshot_cxr import ImageSpec
from fewshot_cxr.data import Augmentation, CachedFilms, augment, scale_films, standardise

SPEC = ImageSpec(size_px=256, n_channels=3, crop="none", mean=(0.5,), std=(0.25,))
MOVED = Augmentation(rotation_degrees=10, shift=0, zoom=(1, 1.1), gamma=(1, 1), brightness=(0.8, 1.2))
BATCH, RATE, DECAY = 32, 3e-3, 0.01
ASKED = 64  # films at once


class DarkCovidNet(nn.Sequential):
    """Films, float (N, 3, 256, 256) -> logits (N, n_findings). Of two findings: 1,164,434 numbers, as published."""

    def __init__(self, n_findings: int, seed: int) -> None:
        torch.manual_seed(seed)
        layers = [*_block(3, 8), nn.MaxPool2d(2), *_block(8, 16)]
        for width in (16, 32, 64, 128):
            wide = 2 * width
            layers += [nn.MaxPool2d(2), *_block(width, wide), *_block(wide, width, 1), *_block(width, wide)]
        layers += [*_block(256, 128, 1), *_block(128, 256), nn.Conv2d(256, n_findings, 3, padding=1, bias=False)]
        layers += [nn.ReLU(), nn.BatchNorm2d(n_findings), nn.Flatten(), nn.Linear(13 * 13 * n_findings, n_findings)]
        super().__init__(*layers)


def _block(n_in: int, n_out: int, size: int = 3) -> list[nn.Module]:
    # Padded by one whatever the size: a convolution of one pixel enlarges its map by two, hence 13 x 13 at the end.
    return [nn.Conv2d(n_in, n_out, size, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.LeakyReLU(0.1, inplace=True)]


def answers_of_darkcovidnet(
    films: CachedFilms, class_ids: np.ndarray, rows: tuple[np.ndarray, np.ndarray], *, n_epochs: int, tell: Callable
) -> np.ndarray:
    """Train on some films and answer others.

    Args:
        films: all, decoded by SPEC.
        class_ids: finding of each, int64, shape (N,).
        rows: those to train on, and those to answer.
        n_epochs: of one cycle of the rate; the last one's network answers.
        tell: called with (epochs done, the epoch's mean loss).

    Returns:
        Probabilities, float32, shape (n answered, n_findings).
    """
    learnt, asked = rows
    network = DarkCovidNet(int(class_ids.max()) + 1, seed=0).to(memory_format=torch.channels_last)
    generator, targets = torch.Generator().manual_seed(0), torch.from_numpy(class_ids)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, betas=(0.95, 0.99), weight_decay=DECAY)
    n_steps = n_epochs * (len(learnt) // BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=n_steps)  # fastai's factors
    for epoch in range(n_epochs):
        order, losses = torch.randperm(len(learnt), generator=generator).numpy(), []
        for batch in np.split(learnt[order], range(BATCH, len(learnt), BATCH)):
            if len(batch) < BATCH:  # as fastai: the rest of an epoch is left out
                continue
            moved = augment(_scaled(films, batch), MOVED, generator=generator)
            loss = functional.cross_entropy(network(standardise(moved, SPEC)), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cycle.step()
            losses.append(loss.item())
        tell(epoch + 1, float(np.mean(losses)))
    network.eval()
    with torch.inference_mode():
        parts = np.split(asked, range(ASKED, len(asked), ASKED))
        return torch.cat([network(standardise(_scaled(films, part), SPEC)).softmax(1) for part in parts]).numpy()


def _scaled(films: CachedFilms, rows: np.ndarray) -> torch.Tensor:
    return scale_films(torch.from_numpy(films.rows(rows)))
