"""Whole stories, from films to a page or to a result."""

from fewshot_cxr.workflows.demo import NEW_FINDING, DemoResult, run_demo
from fewshot_cxr.workflows.recipes import Recipe, RecipeResult, load_recipe, recipe_names, run_recipe

__all__ = [
    "NEW_FINDING",
    "DemoResult",
    "Recipe",
    "RecipeResult",
    "load_recipe",
    "recipe_names",
    "run_demo",
    "run_recipe",
]
