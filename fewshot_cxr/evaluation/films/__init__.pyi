from .decisions import decide_by_classifier as decide_by_classifier
from .decisions import decide_by_exemplars as decide_by_exemplars
from .evaluate import evaluate_closed_set as evaluate_closed_set
from .evaluate import evaluate_multi_label as evaluate_multi_label
from .prediction_file import read_predictions as read_predictions
