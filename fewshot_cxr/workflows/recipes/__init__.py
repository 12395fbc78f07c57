"""The five published systems, each a file of settings: corrected by default, as published on demand."""

from fewshot_cxr.workflows.recipes.check import VARIANTS, CheckRow, check_recipes
from fewshot_cxr.workflows.recipes.recipe import Recipe, load_recipe, parse_recipe, recipe_names
from fewshot_cxr.workflows.recipes.run import RecipeResult, run_recipe, settled
from fewshot_cxr.workflows.recipes.settings import parse_setting

__all__ = [
    "VARIANTS",
    "CheckRow",
    "Recipe",
    "RecipeResult",
    "check_recipes",
    "load_recipe",
    "parse_recipe",
    "parse_setting",
    "recipe_names",
    "run_recipe",
    "settled",
]
