"""A training step that is out of memory is taken again, its films embedded in twice as many parts.

The loss still sees the whole batch. What a part's layers keep for the gradient is computed anew when its turn comes, so
that memory holds one part's at a time: the two passes of GradCache, by torch's own checkpoints.

Source: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021, arXiv:2101.06983.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fewshot_cxr.inference.out_of_memory import is_out_of_memory


class Parts:
    """In how many parts a run embeds its batches; it begins with one.

    Args:
        state: what a forward pass changes beside the gradients, such as a memory of earlier batches; None: nothing.
    """

    def __init__(self, state: nn.Module | None) -> None:
        self.n_parts, self._state = 1, state

    def embed(self, features: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Return the features of images, part by part."""
        if self.n_parts == 1:
            return features(images)
        parts = images.chunk(self.n_parts)
        return torch.cat([checkpoint(features, part, use_reentrant=False) for part in parts])

    def step(self, take: Callable[[Callable[[], Any]], None], compute: Callable[[], Any], n_films: int) -> None:
        """Take a step of the optimiser, again and again until memory holds it.

        Args:
            take: of the optimiser; calls what it is given for the loss and the gradients.
            compute: these.
            n_films: in the batch.

        Raises:
            MemoryError: not even one film at a time is held.
        """
        while not self._fits(take, compute, n_films):
            # Here, as the error holds on to what was computed until then.
            self.n_parts = min(2 * self.n_parts, n_films)
            most = -(-n_films // self.n_parts)
            warnings.warn(
                f"out of memory: from here on batches of {n_films} films are embedded {most} at a time. The loss sees "
                "the whole batch, and is the same, but for batch norm, which sees a part alone: where the encoder has "
                "it, take a smaller batch (--batch-size)",
                stacklevel=2,
            )

    def _fits(self, take: Callable[[Callable[[], Any]], None], compute: Callable[[], Any], n_films: int) -> bool:
        before = None if self._state is None else {k: v.clone() for k, v in self._state.state_dict().items()}
        is_computed = False

        def closure() -> Any:
            nonlocal is_computed
            found = compute()
            is_computed = True
            return found

        try:
            take(closure)
        except (RuntimeError, MemoryError) as error:
            if is_computed or not is_out_of_memory(error):  # a step half taken cannot be taken again
                raise
            if self.n_parts >= n_films:
                raise MemoryError("a training step of one film at a time: take smaller films (--image-size)") from error
        else:
            return True
        if before is not None and self._state is not None:
            self._state.load_state_dict(before)
        return False
