"""Which films make a batch: balanced over findings, diverse over patients, every draw keyed by (seed, epoch)."""

from fewshot_cxr.samplers.balanced import BalancedBatchSampler
from fewshot_cxr.samplers.by_class import BALANCES, ClassBatchSampler
from fewshot_cxr.samplers.episodic import EpisodicBatchSampler
from fewshot_cxr.samplers.pairs import PairBatchSampler

__all__ = ["BALANCES", "BalancedBatchSampler", "ClassBatchSampler", "EpisodicBatchSampler", "PairBatchSampler"]
