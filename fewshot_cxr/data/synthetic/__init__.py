"""Synthetic chest films for the demo, the tests and the examples: drawn, never taken from a person."""

from fewshot_cxr.data.synthetic.films import SYNTHETIC_FINDINGS, draw_film, make_synthetic
from fewshot_cxr.data.synthetic.scanners import SCANNERS

__all__ = ["SCANNERS", "SYNTHETIC_FINDINGS", "draw_film", "make_synthetic"]
