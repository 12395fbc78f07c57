"""Use a trained encoder: embed films once, then decide by distance."""

from fewshot_cxr.inference.device import choose_device, native_precision
from fewshot_cxr.inference.embed import embed, embed_files, embed_films
from fewshot_cxr.inference.floors import embed_border, embed_floors, embed_pixels, embed_source
from fewshot_cxr.inference.predictor import Exemplar, Prediction, predict, sample_exemplars
from fewshot_cxr.inference.rules import OWN_DISTANCE, RULES, TRANSDUCTIVE

__all__ = [
    "OWN_DISTANCE",
    "RULES",
    "TRANSDUCTIVE",
    "Exemplar",
    "Prediction",
    "choose_device",
    "embed",
    "embed_border",
    "embed_files",
    "embed_films",
    "embed_floors",
    "embed_pixels",
    "embed_source",
    "native_precision",
    "predict",
    "sample_exemplars",
]
