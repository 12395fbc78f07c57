"""A loss and a miner of pytorch-metric-learning, or of your own, in place of a name.

python examples/own_loss.py
"""

import argparse
from tempfile import TemporaryDirectory

import torch
from pytorch_metric_learning.losses import CircleLoss
from pytorch_metric_learning.miners import BatchHardMiner

from fewshot_cxr import ImageSpec, SiameseTrainer, embed, evaluate_episodes, split_by_patient
from fewshot_cxr.data.synthetic import make_synthetic


class Spread(torch.nn.Module):
    """Pull films of a finding together, and push others apart as far as a margin."""

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: torch.Tensor, class_ids: torch.Tensor) -> torch.Tensor:
        """Return the loss of one batch, shape ()."""
        is_same = class_ids[:, None] == class_ids[None, :]
        distances = torch.cdist(embeddings, embeddings)
        return distances[is_same].mean() + (self.margin - distances[~is_same]).clamp(min=0).mean()


def main(n_patients: int, n_epochs: int) -> None:
    losses = {
        "supcon": {},
        "circle": {"loss": CircleLoss(), "miner": BatchHardMiner()},
        "spread": {"loss": Spread(), "distance": "euclidean"},
    }
    with TemporaryDirectory() as folder:
        films = make_synthetic(folder, n_patients=n_patients, findings=("normal", "effusion", "cardiomegaly"), seed=0)
        train, val, test = split_by_patient(films, (0.5, 0.2, 0.3), seed=0)
        for name, options in losses.items():
            trainer = SiameseTrainer(image_spec=ImageSpec(size_px=64), n_epochs=n_epochs, batch_size=24, **options)
            embeddings = embed(trainer.fit(train, val, progress=None).encoder, test, progress=None)
            result = evaluate_episodes(embeddings, n_shot=2, n_query=3, n_episodes=500, seed=0, progress=None)
            print(f"{name}: {result.accuracy.mean:.3f}, 95 % over patients {result.accuracy.ci95_patients}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=20, help="of each finding")
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    main(arguments.patients, arguments.epochs)
