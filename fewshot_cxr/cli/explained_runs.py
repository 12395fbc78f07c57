"""What `fscxr explain` explains: a run, with its decoded films and their masks."""

from dataclasses import dataclass, replace
from pathlib import Path

from fewshot_cxr.cli.console import say
from fewshot_cxr.data.masks import LungMasks, lung_masks
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.explain.focus import film_frame_spec
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import load_classifier
from fewshot_cxr.records import Records
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.explaining import Explainer, RunFilms
from fewshot_cxr.workflows.judging import embed_exemplars

_MOST_PROBLEMS = 3


@dataclass(frozen=True)
class HeatFlags:
    """What a heat map answers, how it is made, and of which layer."""

    question: str
    method: str
    layer: str | None


@dataclass(frozen=True)
class Explained:
    """What every run is asked.

    Args:
        films: to explain.
        exemplars: labelled ones to compare with; None: a classifier decides.
        rule: by which exemplars decide.
        heat: what the maps are to show.
        mask_folder: of lung masks; None: those that the films name.
    """

    films: Records
    exemplars: Records | None
    rule: ExemplarRule
    heat: HeatFlags
    mask_folder: Path | None


def explained_run(name: str, path: Path, asked: Explained, compute: Compute) -> RunFilms:
    """Return a run with its films and their masks.

    Args:
        name: of the run.
        path: where it lies.
        asked: what every run is asked.
        compute: where it is done.
    """
    heat = {"question": asked.heat.question, "method": asked.heat.method, "layer": asked.heat.layer}
    if asked.exemplars is None:
        explainer = Explainer.of_classifier(load_classifier(path), device=compute.device, **heat)
    else:
        encoder = load_encoder(path)
        exemplars = embed_exemplars(encoder, asked.exemplars, asked.rule.for_encoder(encoder, path), compute)
        explainer = Explainer.of_exemplars(encoder, exemplars, device=compute.device, **heat)
    spec = explainer.encoder.image_spec
    films = compute.decode(asked.films, spec, f"films of {name}")
    return RunFilms(name, explainer, films, _masks(films.records, spec, asked.mask_folder, compute))


def in_whole_film(run: RunFilms, mask_folder: Path | None) -> RunFilms:
    """Return a run whose masks lie in the square of the film before any border was cut off."""
    spec = run.explainer.encoder.image_spec
    if run.masks is None or not spec.border_crop:
        return run
    return replace(run, masks=lung_masks(run.films.records, film_frame_spec(spec), folder=mask_folder))


def _masks(films: Records, spec: ImageSpec, folder: Path | None, compute: Compute) -> LungMasks | None:
    if folder is None and all(film.mask_path is None for film in films):
        say("note: these films have no lung masks: the share in the lungs stays unknown (--masks)")
        return None
    report = compute.report("reading masks")
    masks = lung_masks(films, spec, folder=folder, n_workers=compute.n_workers, progress=report)
    for problem in masks.problems[:_MOST_PROBLEMS]:
        say(f"mask left out: {problem.path}: {problem.reason}")
    if not masks.has_mask.any():
        raise FileNotFoundError(
            f"none of the lung masks that {len(films)} films name can be read; mend them, or name a folder (--masks)"
        )
    return masks
