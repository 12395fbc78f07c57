"""The loops, and the only room that knows Lightning."""

from fewshot_cxr.training.schedules import SCHEDULES
from fewshot_cxr.training.siamese import SiameseTrainer, TrainedEncoder

__all__ = ["SCHEDULES", "SiameseTrainer", "TrainedEncoder"]
