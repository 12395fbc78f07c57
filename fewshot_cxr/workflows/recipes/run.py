"""One recipe from films to result, figures and tables."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_cxr._kinds import EPISODES, EXPECTED, RECIPE, RESULT, SPLIT
from fewshot_cxr._told_paths import told_text
from fewshot_cxr.data import write_manifest
from fewshot_cxr.encoders import ENCODER_FILE
from fewshot_cxr.evaluation import Result
from fewshot_cxr.training import ClassifierTrainer, SiameseTrainer
from fewshot_cxr.whole_files import write_json, write_text
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.recipes.division import Division, divide, patients_by_part
from fewshot_cxr.workflows.recipes.evaluating import Evaluated, Trained, evaluate_test_films
from fewshot_cxr.workflows.recipes.expectation import Published, Verdict, check_expected, compare_with_published
from fewshot_cxr.workflows.recipes.outputs import write_outputs
from fewshot_cxr.workflows.recipes.recipe import Recipe
from fewshot_cxr.workflows.recipes.sources import Sources, choose_recipe_findings, listed, read_recipe_films

_JUDGED = ("test", "val")


@dataclass(frozen=True, eq=False, kw_only=True)
class RecipeResult:
    """What a recipe found: the settings it ran with, the result on the test films, what was trained, and where.

    `episodes` are few-shot episodes on the test films, of a siamese recipe alone. `notes` say what was assumed.
    `verdict` compares the result with the publication, where that was asked.
    """

    recipe: Recipe
    result: Result
    episodes: Result | None
    trained: Trained
    n_films: dict[str, int]
    out: Path
    seconds: float
    notes: tuple[str, ...]
    verdict: Verdict | None = None


def run_recipe(
    recipe: Recipe,
    sources: Sources,
    *,
    out: Path,
    published: bool = False,
    smoke: bool = False,
    expect: bool = False,
    settings: Mapping[str, Any] | None = None,
    start_from: Path | None = None,
    keep_out: Path | None = None,
    resume: bool = False,
    seed: int = 0,
    compute: Compute | None = None,
    keep_paths: bool = False,
) -> RecipeResult:
    """Read, divide by patient, train, and judge on the test films, once.

    Args:
        recipe: of `load_recipe`.
        sources: (reader, path) of each data set: the recipe's own, or any other films.
        out: the run folder: the encoder with its head, card.json, history.csv, last.ckpt, split.csv, recipe.toml,
            result.json, episodes.json, and the figures and tables.
        published: take the published settings, as far as they lead to no wrong number.
        smoke: a trial of two steps (published) or of one epoch at 64 px.
        expect: say whether the result is what the publication says, in `out`/expected.json too.
        settings: dotted key, or its unique last part -> value; laid over all else but the weights of `start_from`.
        start_from: run folder of an earlier recipe whose encoder this one starts from.
        keep_out: a manifest; the patients of its test and val are left out of train and val here.
        resume: go on from `out`/last.ckpt, exactly as if never stopped.
        seed: of every draw: of films, split, training, exemplars, episodes.
        compute: device, cache and progress.
        keep_paths: say in recipe.toml where weights lie on this machine; else by their name alone.

    Raises:
        ValueError: an unknown setting, other data than the recipe wants, a patient on two sides, one that `start_from`
            was trained on in val or test, or an `expect` that would say nothing.
        FileNotFoundError: nothing readable, or nothing to resume.
    """
    begin, compute = time.perf_counter(), compute or Compute()
    asked = settled(recipe, published=published)
    recipe = settled(recipe, published=published, smoke=smoke, settings=settings, start_from=start_from)
    readers = [reader for reader, _ in sources]
    expected = None
    if expect:
        is_same = all(recipe.sections.get(part) == asked.sections.get(part) for part in ("findings", "read"))
        expected = check_expected(recipe.expected, recipe.data, readers, smoke=smoke, is_same_question=is_same)
    films = choose_recipe_findings(recipe, read_recipe_films(recipe, sources), readers, seed=seed)
    before = {} if start_from is None else patients_by_part(_run_folder(start_from))
    parts = {} if keep_out is None else patients_by_part(keep_out)
    shut_out = [name for name, part in parts.items() if part in _JUDGED]
    division = divide(films, recipe.split, own=recipe.data, seed=seed, before=before, keep_out=shut_out)
    trainer, told = _trainer(recipe, division, seed, compute)
    out.mkdir(parents=True, exist_ok=True)
    trained = trainer.fit(division.train, division.val, out=out, resume=resume, progress=compute.progress)
    header = {"recipe": recipe.name, "seed": seed, "published": published, "smoke": smoke}
    settings_text = recipe.to_toml()
    _write_what_it_was(settings_text if keep_paths else told_text(settings_text), division, out, header)
    evaluated = evaluate_test_films(recipe, trained, division, out=out, seed=seed, compute=compute)
    _write(evaluated, recipe, trained, division, out=out, seed=seed)
    verdict, unsaid = (None, ()) if expected is None else _compared(evaluated.result, expected, out)
    return RecipeResult(
        recipe=recipe,
        result=evaluated.result,
        episodes=evaluated.episodes,
        trained=trained,
        n_films={**trained.card["n_films"], "test": evaluated.result.n_films},
        out=out,
        seconds=time.perf_counter() - begin,
        notes=tuple(dict.fromkeys((*division.train.notes, *told, *trained.notes, *evaluated.notes, *unsaid))),
        verdict=verdict,
    )


def settled(
    recipe: Recipe,
    *,
    published: bool = False,
    smoke: bool = False,
    settings: Mapping[str, Any] | None = None,
    start_from: Path | None = None,
) -> Recipe:
    """Return the recipe with the settings of a run: published, a trial's, those given, weights to start from."""
    recipe = recipe.as_published() if published else recipe
    recipe = recipe.for_smoke(published=published) if smoke else recipe
    recipe = recipe.with_settings(settings or {})
    if start_from is None:
        return recipe
    weights: dict[str, Any] = {"training.encoder_options.weights": str(_run_folder(start_from) / ENCODER_FILE)}
    if "pretrained" in recipe.sections["training"].get("encoder_options", {}):
        weights["training.encoder_options.pretrained"] = False
    return recipe.with_settings(weights)


def _run_folder(start_from: Path) -> Path:
    return start_from if start_from.is_dir() else start_from.parent


def _write_what_it_was(settings: str, division: Division, out: Path, header: dict[str, Any]) -> None:
    """Write split and settings, after training: a folder whose run is refused to be resumed keeps its own.

    And remove what an earlier evaluation in this folder may have written and this one may not.
    """
    write_manifest(listed(division.together()), out / SPLIT, header=header)
    write_text(out / RECIPE, settings)
    for pattern in (EPISODES, EXPECTED, "figures/rank_*.png", "tables/rank_*"):
        for file in out.glob(pattern):
            file.unlink()


def _trainer(
    recipe: Recipe, division: Division, seed: int, compute: Compute
) -> tuple[SiameseTrainer | ClassifierTrainer, tuple[str, ...]]:
    """Return the trainer, and what to say of it; the recipe's findings to augment that are not there are left out."""
    more: dict[str, Any] = {"seed": seed, "device": compute.device}
    more |= {"cache_folder": compute.cache_folder, "n_workers": compute.n_workers}
    trainer = recipe.make_trainer(**more)
    chosen = trainer.augment_findings
    if chosen is None or recipe.is_given("augment_findings"):
        return trainer, ()
    known = tuple(name for name in chosen if name in division.train.findings)
    if known:
        return recipe.make_trainer(**more, augment_findings=known), ()
    note = f"no film is augmented: the recipe augments {', '.join(chosen)} alone, and none is here"
    return recipe.make_trainer(**more, augment_findings=None, augmentation=None), (note,)


def _compared(result: Result, expected: Published, out: Path) -> tuple[Verdict | None, tuple[str, ...]]:
    """Compare with the publication; a result that does not carry that must not cost a whole training."""
    try:
        verdict = compare_with_published(result, expected)
    except ValueError as error:
        return None, (f"not compared with the publication: {error}",)
    write_json(out / EXPECTED, verdict.to_json())
    return verdict, ()


def _write(evaluated: Evaluated, recipe: Recipe, trained: Trained, division: Division, *, out: Path, seed: int) -> None:
    write_json(out / RESULT, evaluated.result.to_json())
    if evaluated.episodes is not None:
        write_json(out / EPISODES, evaluated.episodes.to_json())
    write_outputs(
        out,
        result=evaluated.result,
        history=trained.history,
        best_epoch=trained.card["best_epoch"],
        rank_tables=evaluated.tables,
        counts={name: part.count_findings() for name, part in division.parts().items()},
        title=recipe.title,
        seed=seed,
    )
