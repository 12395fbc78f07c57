"""The loops, and the only room that knows Lightning."""

from fewshot_cxr.training.batches import SAMPLERS
from fewshot_cxr.training.classifier import ClassifierTrainer, TrainedClassifier
from fewshot_cxr.training.course import OPTIMIZERS, PRECISIONS
from fewshot_cxr.training.fitting import STANDARDISATIONS
from fewshot_cxr.training.judgement import MONITORS
from fewshot_cxr.training.schedules import SCHEDULES
from fewshot_cxr.training.siamese import SiameseTrainer, TrainedEncoder

__all__ = [
    "MONITORS",
    "OPTIMIZERS",
    "PRECISIONS",
    "SAMPLERS",
    "SCHEDULES",
    "STANDARDISATIONS",
    "ClassifierTrainer",
    "SiameseTrainer",
    "TrainedClassifier",
    "TrainedEncoder",
]
