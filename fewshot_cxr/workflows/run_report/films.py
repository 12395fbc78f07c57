"""The sections that need films: the map of the embedding, episodes film by film, where the network looks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from fewshot_cxr.data import CachedFilms
from fewshot_cxr.data.masks import lung_masks
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.encoders import Encoder
from fewshot_cxr.evaluation import Result, evaluate_plan, extreme_episodes, replay_plan
from fewshot_cxr.inference import OWN_DISTANCE, Classifier
from fewshot_cxr.report.extremes_section import extremes_section
from fewshot_cxr.report.html import Section
from fewshot_cxr.report.map_sections import projection_section, som_section
from fewshot_cxr.report.run_page import HEAT
from fewshot_cxr.seeding import generator
from fewshot_cxr.visualise.projection import DISTANCES
from fewshot_cxr.visualise.text import percent
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.explaining import Explainer, RunFilms, heat_section
from fewshot_cxr.workflows.judging import Exemplars

_MAP, _SOM, _EXTREMES = "The films on a map", "Which findings lie next to which", "The best and the worst episode"
_MOST_HEATED = 500  # films
_SAME_SHARE = 0.01  # on another machine a few films may be decided otherwise


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportFilms:
    """An encoder with films that it has not been trained on, and how films are decided by exemplars.

    Args:
        encoder: of the run.
        test: the films that are shown, one finding each.
        embeddings: of `test`, in its order.
        rule: by which exemplars decide.
        exemplars: labelled films for heat maps; None: none are at hand.
        classifier: of the run, where it has one; heat maps are then of its logits.
        seed: of every draw.
    """

    encoder: Encoder
    test: CachedFilms
    embeddings: Embeddings
    rule: ExemplarRule
    exemplars: Exemplars | None = None
    classifier: Classifier | None = None
    seed: int = 0


def film_sections(films: ReportFilms, *, result: Result | None, compute: Compute | None = None) -> tuple[Section, ...]:
    """Return the map of the embedding, its self-organising map, the extreme episodes, and heat maps.

    Args:
        films: to show.
        result: of episodes on these very films: then the best and the worst are shown; of others, or None: none.
        compute: device and progress.
    """
    compute = compute or Compute()
    first, *others = _maps(films, compute)
    sections = [replace(first, folded=tuple(others))]
    if result is not None and result.episodes is not None:
        sections.append(_or_reason(_EXTREMES, partial(_extremes, films, result, compute)))
    if films.classifier is not None or films.exemplars is not None:
        sections.append(_or_reason(HEAT, partial(_heat, films, compute)))
    return (*sections[1:], sections[0])  # films first, then the map of them all


def _maps(films: ReportFilms, compute: Compute) -> Iterator[Section]:
    """Yield the map of the embedding and its self-organising map."""
    records, vectors = films.test.records, films.embeddings.vectors
    findings, sources = [film.finding for film in records], [film.source or "" for film in records]
    # Of another distance there is no map: neighbours are then those of plain lengths.
    distance = films.rule.distance if films.rule.distance in DISTANCES else "euclidean"
    if report := compute.report("mapping the embedding"):
        report(0, 1)
    settings: dict[str, Any] = {"distance": distance, "seed": films.seed}
    yield _or_reason(_MAP, partial(projection_section, vectors, findings, sources, **settings))
    if report:
        report(1, 1)
    report = compute.report("training the self-organising map")
    yield _or_reason(_SOM, partial(som_section, vectors, findings, **settings, progress=report))


def _extremes(films: ReportFilms, result: Result, compute: Compute) -> Section:
    plan = replay_plan(films.embeddings, result)
    settings: dict[str, Any] = {
        "rule": result.rule,
        # What stands in the result of such a rule is its own geometry in words, which no distance is named after.
        "distance": films.rule.distance if result.rule in OWN_DISTANCE else result.distance,
        "rule_options": films.rule.options if result.rule == films.rule.name else None,
        "device": compute.device,
    }
    again = evaluate_plan(films.embeddings, plan, **settings, patient_interval=False)
    if _largest_gap(again, result) > _SAME_SHARE:
        raise ValueError(
            f"in these episodes the run's encoder decides otherwise ({percent(again.accuracy.value)} right) than the "
            f"result says ({percent(result.accuracy.value)}), which is of another encoder or rule; name the run that "
            "it is of first"
        )
    report = compute.report("looking for the extreme episodes")
    episodes = extreme_episodes(films.embeddings, plan, **settings, progress=report)
    place = {film.path: row for row, film in enumerate(films.test.records)}
    return extremes_section(
        episodes,
        lambda path: films.test.rows([place[path]])[0],
        n_episodes=result.asked.n_episodes,
        rule=result.rule,
        heading=_EXTREMES,
    )


def _largest_gap(one: Result, other: Result) -> float:
    """Return by how much they differ at most: in accuracy, and in what share of a finding was taken for which."""
    gap = abs(one.accuracy.value - other.accuracy.value)
    shares = [np.array(result.confusion) for result in (one, other)]
    if any(not share.size for share in shares):
        return gap
    rows = [share / np.maximum(share.sum(axis=1, keepdims=True), 1) for share in shares]
    return max(gap, float(np.abs(rows[0] - rows[1]).max()))


def _heat(films: ReportFilms, compute: Compute) -> Section:
    if films.classifier is not None:
        explainer = Explainer.of_classifier(films.classifier, device=compute.device)
    elif films.exemplars is not None:
        explainer = Explainer.of_exemplars(films.encoder, films.exemplars, device=compute.device)
    else:
        raise ValueError("heat maps need labelled films or a classifier, got neither")
    some, told = _drawn(films.test, films.seed)
    spec = films.encoder.image_spec
    masks = lung_masks(some.records, spec) if any(film.mask_path for film in some.records) else None
    run = RunFilms("run", explainer, some, masks)
    section = heat_section(run, seed=films.seed, progress=compute.report("mapping heat"))
    return replace(section, paragraphs=(*section.paragraphs, *told))


def _drawn(films: CachedFilms, seed: int) -> tuple[CachedFilms, tuple[str, ...]]:
    """Return films for heat maps, which cost several times an embedding, and what to say where some were drawn."""
    if len(films) <= _MOST_HEATED:
        return films, ()
    order = generator(seed, "films for heat maps").permutation(len(films))
    rows = np.sort(order[:_MOST_HEATED])
    some = replace(
        films,
        records=films.records.take(rows.tolist()),
        pack_of_film=films.pack_of_film[rows],
        row_of_film=films.row_of_film[rows],
    )
    return some, (f"Measured on {_MOST_HEATED} of {len(films):,} films, drawn with seed {seed}.",)


def _or_reason(heading: str, make: Callable[[], Section]) -> Section:
    """Return the section, or one that says why it is left out: the rest of the page is worth having without it."""
    try:
        return make()
    except ValueError as error:
        return Section(heading, (f"Left out: {error}.",))
