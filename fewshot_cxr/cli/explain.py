"""`fscxr explain`: where a network looks, film by film, with pictures and numbers."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from fewshot_cxr._kinds import begins
from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.cli import flags
from fewshot_cxr.cli.console import bars_for, say, say_notes, say_problems, show_tables, write_result
from fewshot_cxr.cli.exemplars import (
    SOURCE_HELP,
    SupportFlags,
    of_split,
    read_test_and_support,
    rule_flags,
    support_flags,
)
from fewshot_cxr.cli.outputs import check_folder
from fewshot_cxr.cli.sources import Reading, read_films, reading_flags
from fewshot_cxr.data.masks import LungMasks, lung_masks
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.explain import METHODS
from fewshot_cxr.explain.focus import film_frame_spec
from fewshot_cxr.image_spec import ImageSpec
from fewshot_cxr.inference import load_classifier
from fewshot_cxr.records import Records
from fewshot_cxr.report.heat_sections import focus_difference_table, focus_table, gain_text
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.exemplar_rule import ExemplarRule
from fewshot_cxr.workflows.explaining import EXPLAINED_RULES, QUESTIONS, Explainer, RunFilms, explain_films
from fewshot_cxr.workflows.explaining.erasing import erase_films
from fewshot_cxr.workflows.explaining.explainer import ATTENTION
from fewshot_cxr.workflows.explaining.folder import FOCUS, FOCUS_HEAD, PAGE, WRITTEN, Explanation, write_explanation
from fewshot_cxr.workflows.explaining.paired_runs import compare_runs
from fewshot_cxr.workflows.judging import embed_exemplars
from fewshot_cxr.workflows.run_files import short_names

_MOST_PROBLEMS = 3
_OF_EXEMPLARS = ("support", "support_split", "n_exemplars", "rule", "distance")
_QUESTIONS = "; ".join(f"{name}: {text}" for name, text in QUESTIONS.items())
_N_STEPS = 10
_MOST_AT_ONCE = 64  # films; a map and its gradient take more room than an embedding


def _explainer(
    path: Path, labelled: Records | None, rule: ExemplarRule, heat: Mapping[str, Any], compute: Compute
) -> Explainer:
    """Return what explains a run: an encoder beside labelled films or, where there are none, a classifier."""
    if labelled is None:
        return Explainer.of_classifier(load_classifier(path), device=compute.device, **heat)
    encoder = load_encoder(path)
    exemplars = embed_exemplars(encoder, labelled, rule.for_encoder(encoder, path), compute)
    return Explainer.of_exemplars(encoder, exemplars, device=compute.device, **heat)


def _run_films(
    name: str, explainer: Explainer, records: Records, mask_folder: Path | None, compute: Compute
) -> RunFilms:
    spec = explainer.encoder.image_spec
    films = compute.decode(records, spec, f"films of {name}")
    return RunFilms(name, explainer, films, _masks(films.records, spec, mask_folder, compute))


def _in_whole_film(run: RunFilms, mask_folder: Path | None) -> RunFilms:
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


@click.command()
@click.option("--checkpoint", type=flags.encoder_path, help="Run folder or encoder file.")
@click.option(
    "--classifier", type=flags.encoder_path, help="Run folder or encoder file with a classifier; it needs no exemplars."
)
@click.option("--data", "source", required=True, help=f"Films to explain: {SOURCE_HELP}.")
@click.option("--split", help="Take the films of this split.  [default: test, where there is one]")
@click.option("--out", required=True, type=flags.folder_path, help="The folder to write.")
@support_flags
@rule_flags(EXPLAINED_RULES)
@flags.as_one(
    "heat",
    dict,
    click.option(
        "--question",
        default="",
        show_default=False,
        help=f"{_QUESTIONS}; finding:NAME: for NAME.  [default: contrast; decision for cam]",
    ),
    click.option("--method", default="grad_cam", help=f"{', '.join(METHODS)}."),
    click.option("--layer", help="Whose map is drawn.  [default: the encoder's own]"),
)
@click.option(
    "--masks", "mask_folder", type=flags.there_path, help="Folder of lung masks.  [default: those that the data names]"
)
@click.option(
    "--overlays",
    "n_overlays",
    metavar="N|all",
    default="6",
    callback=flags.count_or_all,
    help="Films of each finding that are shown, half of them the worst.",
)
@click.option("--deletion", "n_covered", default=32, type=click.IntRange(0), help="Films covered bit by bit.")
@click.option(
    "--versus", type=flags.encoder_path, help="Another run of the same kind: where does it look on the same films?"
)
@flags.seed_flag
@flags.batch_compute_flags
@reading_flags
@flags.json_flag
def command(
    *,
    checkpoint: Path | None,
    classifier: Path | None,
    source: str,
    split: str | None,
    out: Path,
    support: SupportFlags,
    rule: ExemplarRule,
    heat: dict[str, Any],
    mask_folder: Path | None,
    n_overlays: int | None,
    n_covered: int,
    versus: Path | None,
    seed: int,
    compute: Compute,
    reading: Reading,
    json_file: str | None,
) -> None:
    """Map where a network looks on each film, and measure the share in the lungs, at the border and in the corners.

    An encoder decides by labelled exemplars of other patients, or a classifier decides by itself. Writes
    OUT/explain.html, focus.csv (every film, worst first), focus_summary.csv and .json, overlays/, sheets/ and charts.

    \b
    Example: fscxr explain --checkpoint run --data split.csv --out heat
             fscxr explain --classifier run --data split.csv --question why --masks masks --out heat
             fscxr explain --checkpoint run --versus cropped --data split.csv --out heat
    """
    check_folder(out, WRITTEN, mark=FOCUS, is_ours=begins(",".join(FOCUS_HEAD).encode()))
    if (out / PAGE).exists():
        raise click.UsageError(f"{out} holds an explanation already: name another folder (--out)")
    run_path = _one_run(checkpoint, classifier)
    if heat["method"] == ATTENTION:  # which explains no number that covering could change
        if n_covered and "n_covered" in flags.given_flags():
            raise click.UsageError("--deletion does not go with --method attention: it explains no number")
        n_covered = 0
    exemplars = None
    if classifier is None:
        films, exemplars, _ = read_test_and_support(source, split, support, reading, seed=seed)
    else:
        films = of_split(read_films(source, reading, single_label=True, allow_leak=True), split, "test", "--split")
    paths = [run_path] if versus is None else [run_path, versus]
    with only_writer(out), bars_for(compute) as compute:
        explainers = [_explainer(path, exemplars, rule, heat, compute) for path in paths]
        named = zip(short_names(paths), explainers, strict=True)
        runs = [_run_films(name, explainer, films, mask_folder, compute) for name, explainer in named]
        say_problems(runs[0].films.records)
        explanation = _explain(runs, mask_folder, n_covered, seed, compute)
        write_explanation(out, explanation, n_overlays=n_overlays, progress=compute.report("overlays"))
    _show(explanation)
    say(f"written: {out / PAGE} (open it in a browser), {FOCUS}, overlays, sheets, charts")
    write_result(explanation.to_json(), json_file)


def _one_run(checkpoint: Path | None, classifier: Path | None) -> Path:
    """Return the one that was given, without any flag that it would not heed."""
    path = checkpoint or classifier
    if path is None or (checkpoint and classifier):
        raise click.UsageError("name an encoder (--checkpoint) or a classifier (--classifier), one of them")
    if classifier:
        flags.refuse_flags(lambda name: name in _OF_EXEMPLARS, "--classifier", "it compares with no exemplars")
    return path


def _explain(
    runs: list[RunFilms], mask_folder: Path | None, n_covered: int, seed: int, compute: Compute
) -> Explanation:
    run, size = runs[0], min(compute.batch_size, _MOST_AT_ONCE)
    report = explain_films(run, batch_size=size, progress=compute.report("heat"))
    erasure = paired = None
    if n_covered:
        covering = compute.report("covering films")
        erasure = erase_films(run, n_films=n_covered, n_steps=_N_STEPS, seed=seed, progress=covering)
    if len(runs) > 1:
        whole = [_in_whole_film(one, mask_folder) for one in runs]
        paired = compare_runs(*whole, seed=seed, cache_folder=compute.cache_folder, progress=compute.progress)
    return Explanation(run, report, erasure, paired, seed)


def _show(explanation: Explanation) -> None:
    tables = [focus_table(explanation.report.summary)]
    if explanation.paired is not None:
        paired = explanation.paired
        tables.append(focus_difference_table(paired.rows, paired.names))
        if paired.inner_rows:
            tables.append(focus_difference_table(paired.inner_rows, paired.names, is_inner=True))
    show_tables(tables)
    if explanation.erasure is not None:
        say(f"covering films changes the score: {explanation.erasure.score}")
        for row in explanation.erasure.gains():
            say(f"{row.mode}: {gain_text(row)}")
    say_notes(explanation.report.notes)
