"""Whole stories, from films to a page."""

from fewshot_cxr.workflows.demo import NEW_FINDING, DemoResult, run_demo

__all__ = ["NEW_FINDING", "DemoResult", "run_demo"]
