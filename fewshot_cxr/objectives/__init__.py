"""What training asks of embeddings: losses and miners, and the one door to pytorch-metric-learning."""

from fewshot_cxr.objectives.losses import LOSSES, MetricLoss, build_loss
from fewshot_cxr.objectives.miners import MINERS, build_miner
from fewshot_cxr.objectives.statistics import triplet_statistics

__all__ = ["LOSSES", "MINERS", "MetricLoss", "build_loss", "build_miner", "triplet_statistics"]
