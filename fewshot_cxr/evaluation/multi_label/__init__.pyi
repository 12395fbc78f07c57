from .evaluate import evaluate_multi_label as evaluate_multi_label
