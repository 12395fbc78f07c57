"""What `fscxr explain` explains: the films, the exemplars, the masks, and one run or two with their decoded films."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fewshot_cxr.cli.console import say, say_problems
from fewshot_cxr.cli.sides import of_split, read_sides, refuse_shared_patients
from fewshot_cxr.cli.sources import take_reading
from fewshot_cxr.data import cache_films
from fewshot_cxr.data.masks import LungMasks, lung_masks
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.explain.film_frame import film_frame_spec
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import load_classifier, sample_exemplars, template_options
from fewshot_cxr.records import Records
from fewshot_cxr.workflows.explaining import Explainer
from fewshot_cxr.workflows.explaining.explainer import RunFilms
from fewshot_cxr.workflows.short_names import short_names

Progress = Callable[[str, int, int], None]
_MOST_PROBLEMS = 3


def load_runs(options: dict[str, Any], progress: Progress) -> list[RunFilms]:
    """Return the run that is explained and, with --versus, the other one, each with its films and their masks.

    Args:
        options: of the command `explain`.
        progress: called with (what, done, total).
    """
    sides = _sides(options)
    paths = [options["classifier"] or options["checkpoint"], *filter(None, [options["versus"]])]
    named = zip(short_names(paths), paths, strict=True)
    runs = [_run(name, path, sides, options, progress) for name, path in named]
    say_problems(runs[0].films.records)
    return runs


def in_whole_film(run: RunFilms, mask_folder: Path | None) -> RunFilms:
    """Return a run whose masks lie in the square of the film before any border was cut off."""
    spec = run.explainer.encoder.image_spec
    if run.masks is None or not spec.border_crop:
        return run
    return replace(run, masks=lung_masks(run.films.records, film_frame_spec(spec), folder=mask_folder))


def _sides(options: dict[str, Any]) -> dict[str, Records]:
    """Return the films to explain, and where there is no classifier the exemplars."""
    sources = {"test": options["source"]}
    if options["classifier"] is None:
        sources["support"] = options["support"] or options["source"]
    data, readers = read_sides(sources, take_reading(options))
    sides = {"test": of_split(data["test"], options["split"], "test", "--split")}
    if "support" in data:
        sides["support"] = of_split(data["support"], options["support_split"], "train", "--support-split")
        refuse_shared_patients(sides, readers)
        if options["n_exemplars"] is not None:
            sides["support"] = sample_exemplars(sides["support"], options["n_exemplars"], seed=options["seed"])
    return sides


def _run(name: str, path: Path, sides: dict[str, Records], options: dict[str, Any], progress: Progress) -> RunFilms:
    cache = {"folder": options["cache_folder"], "n_workers": options["n_workers"]}
    asked = {key: options[key] for key in ("question", "method", "layer")}
    if options["classifier"] is not None:
        explainer = Explainer.of_classifier(load_classifier(path), device=options["device"], **asked)
    else:
        encoder = load_encoder(path)
        report = partial(progress, f"decoding exemplars of {name}")
        explainer = Explainer.of_exemplars(
            encoder,
            cache_films(sides["support"], encoder.image_spec, **cache, progress=report),
            rule=options["rule"],
            distance=options["distance"] or encoder.card.get("distance", "euclidean"),
            rule_options=template_options(encoder, path) if options["rule"] == "template" else {},
            device=options["device"],
            **asked,
        )
    spec = explainer.encoder.image_spec
    films = cache_films(sides["test"], spec, **cache, progress=partial(progress, f"decoding films of {name}"))
    return RunFilms(name, explainer, films, _masks(films.records, spec, options, partial(progress, "reading masks")))


def _masks(
    films: Records, spec: ImageSpec, options: dict[str, Any], progress: Callable[[int, int], None]
) -> LungMasks | None:
    folder = options["mask_folder"]
    if folder is None and all(film.mask_path is None for film in films):
        say("note: these films have no lung masks: the share in the lungs stays unknown (--masks)")
        return None
    masks = lung_masks(films, spec, folder=folder, n_workers=options["n_workers"], progress=progress)
    for problem in masks.problems[:_MOST_PROBLEMS]:
        say(f"mask left out: {problem.path}: {problem.reason}")
    if not masks.has_mask.any():
        raise FileNotFoundError(
            f"none of the lung masks that {len(films)} films name can be read; mend them, or name a folder (--masks)"
        )
    return masks
