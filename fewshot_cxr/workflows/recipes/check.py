"""Every recipe tried on its own data set, as corrected and as published."""

import gc
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fewshot_cxr.report.result_sections import main_number
from fewshot_cxr.report.tables import value_text
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.recipes.recipe import Recipe, load_recipe, recipe_names
from fewshot_cxr.workflows.recipes.run import run_recipe

VARIANTS = ("corrected", "published")
_FOLDERS = {"covid_chestxray": "ieee8023"}  # the others lie in folders of their reader's name


@dataclass(frozen=True)
class CheckRow:
    """One trial: seconds, films by part, its number; `error` is empty where it ended well."""

    recipe: str
    variant: str
    seconds: float
    n_films: dict[str, int]
    number: str
    error: str = ""


def check_recipes(
    data_root: Path,
    names: Sequence[str] = (),
    *,
    variants: Sequence[str] = VARIANTS,
    seed: int = 0,
    compute: Compute | None = None,
) -> Iterator[CheckRow]:
    """Run recipes as trials, one after the other, and yield a row for each as it ends.

    Args:
        data_root: holds the folders covidx, coronahack, covid19_radiography, chestxray14 and ieee8023.
        names: of recipes; none: all.
        variants: of VARIANTS.
        seed: of every draw.
        compute: device, cache and progress.

    Raises:
        ValueError: an unknown recipe.
    """
    recipes = [load_recipe(name) for name in names or recipe_names()]
    for recipe in recipes:
        for variant in variants:
            with tempfile.TemporaryDirectory(prefix="recipe-") as folder:
                yield _try(recipe, variant, data_root, Path(folder), seed=seed, compute=compute)
            gc.collect()


def _try(recipe: Recipe, variant: str, data_root: Path, out: Path, *, seed: int, compute: Compute | None) -> CheckRow:
    sources = [(reader, data_root / _FOLDERS.get(reader, reader)) for reader in recipe.data]
    if recipe.findings.is_common:
        sources = [(reader, path) for reader, path in sources if path.is_dir()]
    begin = time.perf_counter()
    try:
        done = run_recipe(
            recipe, sources, out=out, published=variant == "published", smoke=True, seed=seed, compute=compute
        )
    except (ValueError, TypeError, OSError, ArithmeticError, RuntimeError) as error:
        # One that fails must not keep the others from being tried: its reason is its row.
        words = " ".join(str(error).split()) or type(error).__name__
        return CheckRow(recipe.name, variant, time.perf_counter() - begin, {}, "", words)
    name, one = main_number(done.result)
    number = f"{name} {value_text(one, 'plain')}"
    return CheckRow(recipe.name, variant, done.seconds, done.n_films, number)
