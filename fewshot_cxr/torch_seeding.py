"""Keyed draws of torch; its global generators are as before afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fewshot_cxr.seeding import torch_seed


def torch_generator(seed: int, *key: int | str) -> torch.Generator:
    """Return a torch generator, of the CPU, for one draw."""
    return torch.Generator().manual_seed(torch_seed(seed, *key))


@contextmanager
def seeded_torch(seed: int, *key: int | str) -> Iterator[None]:
    """Run a block (initialisation, a pass with dropout) under its own key; torch's global state returns after it."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(torch_seed(seed, *key))
        yield
