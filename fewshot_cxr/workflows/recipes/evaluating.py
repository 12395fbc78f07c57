"""The test films of a recipe, evaluated once: by the trained classifier, or by exemplars of the training films."""

from dataclasses import dataclass, replace
from pathlib import Path

from fewshot_cxr.data import CachedFilms, cut_findings
from fewshot_cxr.embeddings import Embeddings
from fewshot_cxr.evaluation import Result, evaluate_plan, plan_episodes
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import sample_exemplars
from fewshot_cxr.records import Records
from fewshot_cxr.training import TrainedClassifier, TrainedEncoder
from fewshot_cxr.workflows import judging
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.rank_tables import RankTable, rank_tables
from fewshot_cxr.workflows.recipes.division import Division
from fewshot_cxr.workflows.recipes.recipe import Recipe

Trained = TrainedEncoder | TrainedClassifier
_N_QUERY = 10


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What was found on the test films; `notes` are no part of the result."""

    result: Result
    episodes: Result | None = None
    tables: tuple[RankTable, ...] = ()
    notes: tuple[str, ...] = ()


def evaluate_test_films(
    recipe: Recipe, trained: Trained, division: Division, *, out: Path, seed: int, compute: Compute
) -> Evaluated:
    """Evaluate on the test films, with a temperature fitted on the validation films.

    Args:
        recipe: says by what.
        trained: of the training.
        division: its films.
        out: the run folder.
        seed: of every draw.
        compute: where it is done.
    """
    if isinstance(trained, TrainedClassifier):
        return Evaluated(_by_classifier(trained, division, recipe.findings.is_multi_label, compute))
    rules, encoder = recipe.judge, trained.encoder
    rule = ExemplarRule(rules.rule, trained.card["distance"], {"k": rules.k} if rules.rule == "knn" else {})
    chosen = sample_exemplars(division.train, rules.n_exemplars, seed=seed) if rules.n_exemplars else division.train
    exemplars = judging.embed_exemplars(encoder, chosen, rule.for_encoder(encoder, out), compute)
    findings = exemplars.films.records.findings
    test, notes = _decoded(division.test, findings, encoder.image_spec, "test films", compute)
    val, _ = _decoded(division.val, findings, encoder.image_spec, "val films", compute)
    result, embedded = judging.evaluate_by_exemplars(exemplars, encoder, test, val, compute=compute)
    told = judging.closed_warnings(result, test.records, encoder, exemplars.films.records)
    result = replace(result, notes=(*result.notes, *notes), warnings=(*result.warnings, *told))
    tables = rank_tables(exemplars, test, embedded, rules.rank_tables, seed=seed)
    if not rules.n_episodes:
        return Evaluated(result, tables=tables)
    try:
        return Evaluated(result, _episodes(recipe, exemplars, embedded, seed, compute), tables)
    except ValueError as error:  # the test films are too few for any: the closed set stands by itself
        return Evaluated(result, tables=tables, notes=(f"no few-shot episodes: {error}",))


def _by_classifier(trained: TrainedClassifier, division: Division, is_multi_label: bool, compute: Compute) -> Result:
    classifier, val, support = trained.classifier, None, None
    spec = classifier.encoder.image_spec
    test, notes = _decoded(division.test, classifier.findings, spec, "test films", compute)
    if not is_multi_label:
        val, _ = _decoded(division.val, classifier.findings, spec, "val films", compute)
        support = compute.decode(division.train, spec, "train films")
    result = judging.evaluate_by_classifier(
        classifier, test, val, is_multi_label=is_multi_label, support=support, compute=compute
    )
    told = [] if support is None else judging.closed_warnings(result, test.records, classifier.encoder, support.records)
    return replace(result, notes=(*result.notes, *notes), warnings=(*result.warnings, *told))


def _decoded(
    records: Records, findings: tuple[str, ...], spec: ImageSpec, what: str, compute: Compute
) -> tuple[CachedFilms, tuple[str, ...]]:
    """Return the films without what training did not know, and what to say of those that are left out."""
    known, notes = records, list[str]()
    unknown = sorted(set(records.findings) - set(findings))
    if unknown:
        is_single = all(len(film.findings) == 1 for film in records)
        cut = cut_findings(records, sorted(set(records.findings) & set(findings)))
        known = cut.where(lambda film: bool(film.findings) or not is_single)
        lost = f"{len(records) - len(known)} films" if is_single else "findings"
        notes.append(f"left out, {lost} that training does not know: {', '.join(unknown)}")
    films = compute.decode(known, spec, what)
    unread = (problem for problem in films.records.problems if problem not in known.problems)
    return films, (*notes, *(f"left out {one.path}: {one.reason}" for one in unread))


def _episodes(recipe: Recipe, exemplars: judging.Exemplars, films: Embeddings, seed: int, compute: Compute) -> Result:
    rules = recipe.judge
    plan = plan_episodes(
        films,
        n_way=min(rules.n_way, len(films.class_names)),
        n_shot=rules.n_shot,
        n_query=_N_QUERY,
        n_episodes=rules.n_episodes,
        if_too_small="shrink_query",
        seed=seed,
    )
    report = compute.report("episodes")
    return evaluate_plan(films, plan, **exemplars.rule.settings(), device=compute.device, progress=report)
