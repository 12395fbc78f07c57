"""Use a trained encoder: embed films once, then decide by distance, or by the classifier that follows it."""

from fewshot_cxr.inference.classifier import Classifier, classifier_head_card, classify_films, load_classifier
from fewshot_cxr.inference.device import choose_device, native_precision
from fewshot_cxr.inference.embed import embed, embed_files, embed_films
from fewshot_cxr.inference.floors import embed_border, embed_floors, embed_pixels, embed_source
from fewshot_cxr.inference.learned_distance import template_options
from fewshot_cxr.inference.predictor import Exemplar, Prediction, predict, sample_exemplars
from fewshot_cxr.inference.rules import OWN_DISTANCE, RULES, TRANSDUCTIVE

__all__ = [
    "OWN_DISTANCE",
    "RULES",
    "TRANSDUCTIVE",
    "Classifier",
    "Exemplar",
    "Prediction",
    "choose_device",
    "classifier_head_card",
    "classify_films",
    "embed",
    "embed_border",
    "embed_files",
    "embed_films",
    "embed_floors",
    "embed_pixels",
    "embed_source",
    "load_classifier",
    "native_precision",
    "predict",
    "sample_exemplars",
    "template_options",
]
