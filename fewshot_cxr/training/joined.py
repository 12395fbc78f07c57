"""What the ranks of a run share: their rows, as one batch that a loss sees whole, and the means of their numbers."""

from typing import Any

import torch
from torch import Tensor, distributed


class _AllRows(torch.autograd.Function):
    """The rows of all ranks; each rank's gradient is what all of them ask of its rows."""

    @staticmethod
    def forward(context: Any, rows: Tensor, sizes: list[int]) -> Tensor:
        context.sizes = sizes
        # Ranks may have a film more or less, and what is gathered has one shape.
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # Each rank computes the loss of all rows. DDP and FSDP take the mean of what the ranks' weights get: the sum
        # over the ranks here and that mean give the gradient of one loss, as in one process.
        gradient = gradients[0].contiguous()
        distributed.all_reduce(gradient)
        own = torch.split(gradient, context.sizes)[distributed.get_rank()]
        return own, None


def n_films_of_ranks(n_films: int, device: torch.device) -> list[int]:
    """Return how many films the batch of each rank has; of a process alone its own number."""
    if not _are_several():
        return [n_films]
    counts = torch.zeros(distributed.get_world_size(), dtype=torch.int64, device=device)
    counts[distributed.get_rank()] = n_films
    distributed.all_reduce(counts)
    found: list[int] = counts.tolist()
    return found


def joined(rows: Tensor, n_films: list[int], n_views: int = 1) -> Tensor:
    """Return the rows of all ranks, rank by rank, through which the gradient flows back to each.

    Args:
        rows: of this rank, shape (n_views * N, ...), view by view.
        n_films: of each rank; see `n_films_of_ranks`.
        n_views: of each film.

    Returns:
        Shape (n_views * sum(n_films), ...), view by view; of a process alone `rows` themselves.
    """
    if len(n_films) == 1:
        return rows
    by_film = rows.view(n_views, -1, *rows.shape[1:]).transpose(0, 1).contiguous()
    everyone: Tensor = _AllRows.apply(by_film, n_films)
    return everyone.transpose(0, 1).flatten(0, 1)


def means_of_ranks(values: dict[str, float], device: torch.device) -> dict[str, float]:
    """Return the mean over the ranks of each number; all ranks have the same names, in one order."""
    if not values or not _are_several():
        return values
    mean = torch.tensor(list(values.values()), dtype=torch.float32, device=device)
    distributed.all_reduce(mean)
    return dict(zip(values, (mean / distributed.get_world_size()).tolist(), strict=True))


def wait_for_ranks() -> None:
    """Wait until all ranks have come here."""
    if _are_several():
        distributed.barrier()


def _are_several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
