"""Why an encoder answers as it does: heat maps as arrays, and where their heat lies; the one door to captum."""

from fewshot_cxr.explain.attention import attention_maps
from fewshot_cxr.explain.class_activation import class_activation_map
from fewshot_cxr.explain.deletion import area_under, deletion_curve
from fewshot_cxr.explain.film_frame import film_frame_spec, in_film_frame, uncropped
from fewshot_cxr.explain.focus import area_shares, focus_shares
from fewshot_cxr.explain.focus_summary import FocusDifference, FocusRow, compare_focus, summarise_focus
from fewshot_cxr.explain.gradcam import grad_cam, map_layers, pair_maps
from fewshot_cxr.explain.methods import METHODS, heat_maps
from fewshot_cxr.explain.targets import (
    ClassScore,
    Difference,
    ExemplarSimilarity,
    LearnedSimilarity,
    Mean,
    PrototypeSimilarity,
    Similarity,
    Target,
)

__all__ = [
    "METHODS",
    "ClassScore",
    "Difference",
    "ExemplarSimilarity",
    "FocusDifference",
    "FocusRow",
    "LearnedSimilarity",
    "Mean",
    "PrototypeSimilarity",
    "Similarity",
    "Target",
    "area_shares",
    "area_under",
    "attention_maps",
    "class_activation_map",
    "compare_focus",
    "deletion_curve",
    "film_frame_spec",
    "focus_shares",
    "grad_cam",
    "heat_maps",
    "in_film_frame",
    "map_layers",
    "pair_maps",
    "summarise_focus",
    "uncropped",
]
