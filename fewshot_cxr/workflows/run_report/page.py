"""Runs, results and films become one page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fewshot_cxr._kinds import SPLIT
from fewshot_cxr.data import read_dataset
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.evaluation import Result
from fewshot_cxr.inference import RULES, load_classifier, sample_exemplars
from fewshot_cxr.records import Records
from fewshot_cxr.report.html import Page
from fewshot_cxr.report.run_page import PageParts, run_page
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.judging import embed_exemplars
from fewshot_cxr.workflows.run_report.films import ReportFilms, film_sections
from fewshot_cxr.workflows.run_report.inputs import read_inputs

_N_EXEMPLARS = 20  # of each finding, as the recipes draw
_NEED_FILMS = "maps of the embedding, the best and the worst episode, and heat maps"
_NAME_FILMS = "name them (--data SOURCE --split test --support-split train)"


@dataclass(frozen=True)
class GivenFilms:
    """Films that the reader named: those that are shown, and labelled ones for heat maps."""

    test: Records
    support: Records | None = None


def report_page(
    sources: Sequence[Path],
    *,
    given: GivenFilms | None = None,
    title: str = "",
    checklist: str | None = None,
    seed: int = 0,
    compute: Compute | None = None,
) -> Page:
    """Return one page on run folders and JSON files.

    Films are those of the first run folder: as `given`, else of its split.csv. What cannot be shown is told with why.

    Args:
        sources: run folders and JSON files of episode-eval, evaluate, compare and data audit, in any mix.
        given: films to show.
        title: of the page; "": after the sources.
        checklist: "claim" or "tripod-ai": filled with what is known, as the last section.
        seed: of every draw.
        compute: device, cache and progress.

    Raises:
        FileNotFoundError, ValueError: as for `read_inputs`; films that the run cannot take.
    """
    (parts, folders), compute = read_inputs(sources), compute or Compute()
    episodes = _episodes_of_first(parts) if folders else None
    left_out = _left_out(parts, has_episodes=episodes is not None)
    if folders:
        films = given or _own_films(folders[0])
        if isinstance(films, str):
            left_out.insert(0, films)
        else:
            shown = load_films(folders[0], films, rule=_rule_of_first(parts), seed=seed, compute=compute)
            parts = replace(parts, films=film_sections(shown, result=episodes, compute=compute))
            if shown.exemplars is None and shown.classifier is None:
                left_out.insert(0, f"Heat maps need labelled films: {_NAME_FILMS}.")
    elif given is not None:
        raise ValueError("films were named, but no run folder whose encoder could embed them; name one too")
    named = [run.name for run in parts.runs] + [shown.name for shown in parts.results]
    names = ", ".join(dict.fromkeys(named))
    title = title or (f"Report: {names}" if names else "Report")
    return run_page(replace(parts, left_out=tuple(left_out)), title=title, checklist=checklist)


def load_films(
    folder: Path, films: GivenFilms, *, rule: str = "mean_distance", seed: int = 0, compute: Compute | None = None
) -> ReportFilms:
    """Decode and embed films with the encoder of a run.

    Args:
        folder: the run folder.
        films: to show; of the labelled ones 20 of each finding are drawn.
        rule: by which exemplars decide; the distance is that of the training.
        seed: of the draw.
        compute: device, cache and progress.

    Raises:
        FileNotFoundError: no encoder, or no readable film.
    """
    compute = compute or Compute()
    encoder = load_encoder(folder)
    kind = (encoder.card.get("head") or {}).get("kind")
    classifier = load_classifier(folder) if kind == "linear" else None
    test = compute.decode(films.test, encoder.image_spec, "test films")
    how, exemplars = ExemplarRule(rule).for_encoder(encoder, folder), None
    if films.support is not None and classifier is None:
        chosen = sample_exemplars(films.support, _N_EXEMPLARS, seed=seed)
        exemplars = embed_exemplars(encoder, chosen, how, compute)
    return ReportFilms(
        encoder=encoder,
        test=test,
        embeddings=compute.embed(encoder, test, "test films"),
        rule=how,
        exemplars=exemplars,
        classifier=classifier,
        seed=seed,
    )


def _own_films(folder: Path) -> GivenFilms | str:
    """Return the films of a run's own split, or why there are none."""
    if not (folder / SPLIT).exists():
        return f"Left out: {_NEED_FILMS}, since {folder.name} holds no {SPLIT} with its films; {_NAME_FILMS}."
    try:
        records = read_dataset("manifest", folder / SPLIT)
        test, support = (records.of_split(name) for name in ("test", "train"))
    except (FileNotFoundError, ValueError) as error:
        return f"Left out: {_NEED_FILMS}, since the films of {SPLIT} are not found ({error}); {_NAME_FILMS}."
    if any(len(film.findings) != 1 for film in (*test, *support)):
        return f"Left out: {_NEED_FILMS}, since the films of {SPLIT} may show several findings."
    return GivenFilms(test, support)


def _episodes_of_first(parts: PageParts) -> Result | None:
    """Return the episodes of the first run or, where it has none, the first ones that are of no other run."""
    first, *others = (run.name for run in parts.runs)
    episodes = [(one.name, one.result) for one in parts.results if one.name not in others]
    found = [(name != first, result) for name, result in episodes if result.episodes is not None]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _rule_of_first(parts: PageParts) -> str:
    """Return how the first run decided by exemplars, where its result says so; as in training where it does not."""
    results = [one.result for one in parts.results if one.name == parts.runs[0].name]
    rules = [result.rule for result in results if result.kind == "closed_set" and result.rule in RULES]
    return next(iter(rules), "mean_distance")


def _left_out(parts: PageParts, *, has_episodes: bool) -> list[str]:
    """Say what other inputs would bring in."""
    told = []
    if not parts.runs:
        told.append(f"There is no run folder, and so no films: {_NEED_FILMS} need one. Name it too.")
    elif len(parts.runs) > 1:
        told.append(f"Films, maps and heat maps are of the first run alone, {parts.runs[0].name}.")
    if parts.runs and not has_episodes:
        told.append(
            f"Episodes of {parts.runs[0].name}: name a result of them (fscxr episode-eval --checkpoint RUN --data "
            "SOURCE --json FILE)."
        )
    if not parts.audits:
        told.append("The audit of the films: name its file (fscxr data audit SOURCE --json FILE).")
    return told
