from .by_class import BALANCES as BALANCES
from .by_class import BalancedBatchSampler as BalancedBatchSampler
from .by_class import ClassBatchSampler as ClassBatchSampler
from .by_rank import RankSampler as RankSampler
from .episodic import EpisodicBatchSampler as EpisodicBatchSampler
from .pairs import PairBatchSampler as PairBatchSampler
