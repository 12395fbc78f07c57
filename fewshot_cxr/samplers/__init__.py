"""Which films make a batch: balanced over findings, diverse over patients, every draw keyed by (seed, epoch)."""

from fewshot_cxr.samplers.balanced import BalancedBatchSampler
from fewshot_cxr.samplers.episodic import EpisodicBatchSampler

__all__ = ["BalancedBatchSampler", "EpisodicBatchSampler"]
