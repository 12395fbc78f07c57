"""The augmented views of training films; every draw is keyed."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot_cxr.data import Augmentation, augment
from fewshot_cxr.torch_seeding import seeded_torch, torch_generator


@dataclass(frozen=True)
class Augmenter:
    """Augments a batch of training films.

    Args:
        augmentation: of each film; None leaves them as they are.
        seed: of every draw, with its key.
        class_ids: whose films alone are augmented; None: all.
    """

    augmentation: Augmentation | Callable[[Tensor], Tensor] | None
    seed: int
    class_ids: tuple[int, ...] | None = None

    def __call__(self, images: Tensor, class_ids: Tensor, *key: int | str) -> Tensor:
        """Return a view of each image, as float (N, C, S, S) of 0..1 as the images are.

        Raises:
            ValueError: the user's own augmentation changes the shape.
        """
        augmentation, chosen = self.augmentation, self._chosen(class_ids)
        if augmentation is None:
            return images
        if isinstance(augmentation, Augmentation):
            return augment(images, augmentation, generator=torch_generator(self.seed, *key), chosen=chosen)
        with seeded_torch(self.seed, *key):
            made = torch.stack([augmentation(image) for image in images])
        if made.shape != images.shape:
            raise ValueError(f"augmentation must keep the shape {tuple(images.shape[1:])}, got {tuple(made.shape[1:])}")
        return made if chosen is None else torch.where(chosen.view(-1, 1, 1, 1), made, images)

    def _chosen(self, class_ids: Tensor) -> Tensor | None:
        if self.class_ids is None:
            return None
        wanted = torch.tensor(self.class_ids, device=class_ids.device)
        return torch.isin(class_ids, wanted) if class_ids.ndim == 1 else (class_ids[:, wanted] == 1).any(dim=1)
