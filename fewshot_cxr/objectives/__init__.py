"""What training asks of embeddings and logits: losses, miners, heads; the one door to pytorch-metric-learning."""

from fewshot_cxr.objectives.auxiliary import AUXILIARIES, Auxiliary, build_auxiliary
from fewshot_cxr.objectives.classification import (
    CLASS_WEIGHTS,
    CLASSIFICATION_LOSSES,
    ClassificationLoss,
    build_classification_loss,
    class_weights,
)
from fewshot_cxr.objectives.heads import LinearHead, WeightedL1Head
from fewshot_cxr.objectives.losses import LOSSES, MetricLoss, build_loss
from fewshot_cxr.objectives.memory import CrossBatchMemory
from fewshot_cxr.objectives.miners import MINERS, build_miner
from fewshot_cxr.objectives.statistics import triplet_statistics

__all__ = [
    "AUXILIARIES",
    "CLASSIFICATION_LOSSES",
    "CLASS_WEIGHTS",
    "LOSSES",
    "MINERS",
    "Auxiliary",
    "ClassificationLoss",
    "CrossBatchMemory",
    "LinearHead",
    "MetricLoss",
    "WeightedL1Head",
    "build_auxiliary",
    "build_classification_loss",
    "build_loss",
    "build_miner",
    "class_weights",
    "triplet_statistics",
]
