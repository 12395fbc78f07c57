"""Use a trained encoder: embed films once, then decide by distance."""

from fewshot_cxr.inference.device import choose_device, native_precision
from fewshot_cxr.inference.embed import embed, embed_files, embed_films, embed_pixels
from fewshot_cxr.inference.predictor import Exemplar, Prediction, predict, sample_exemplars
from fewshot_cxr.inference.rules import RULES

__all__ = [
    "RULES",
    "Exemplar",
    "Prediction",
    "choose_device",
    "embed",
    "embed_files",
    "embed_films",
    "embed_pixels",
    "native_precision",
    "predict",
    "sample_exemplars",
]
