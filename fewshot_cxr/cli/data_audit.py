"""`fscxr data audit`: what ruins studies, found before any training."""

from dataclasses import replace
from pathlib import Path

import click

from fewshot_cxr import report  # each name loads when it is asked for: no page, no jinja2
from fewshot_cxr._checks import lookup
from fewshot_cxr.cli import console
from fewshot_cxr.cli.flags import batch_compute_flags, comma_names, encoder_path, json_flag, seed_flag
from fewshot_cxr.cli.outputs import page_file
from fewshot_cxr.cli.sources import Reading, read_sources, reading_flags
from fewshot_cxr.evaluation import CHECKS, audit_films
from fewshot_cxr.report import checks_table, confounding_table, counts_table, embedding_table
from fewshot_cxr.workflows.compute import Compute
from fewshot_cxr.workflows.embedding_audits import audit_embedding

CHECK_FAILED = 3


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="MANIFEST...")
@click.option(
    "--checkpoint", type=encoder_path, help="Also measure what this encoder's embedding tells: source, view, age, sex."
)
@click.option("--html", "html_file", type=page_file, help="Write a page to look at.")
@click.option(
    "--fail-on",
    metavar="A,B",
    callback=comma_names,
    help=f"Leave with code 3 if one of these finds something: {', '.join(CHECKS)}.",
)
@click.option(
    "--allow-unknown-patients",
    is_flag=True,
    help="--fail-on leak, contradictory: pass although patients of films are unknown.",
)
@batch_compute_flags
@seed_flag
@reading_flags
@json_flag
def command(
    *,
    sources: tuple[str, ...],
    checkpoint: Path | None,
    html_file: Path | None,
    fail_on: tuple[str, ...] | None,
    allow_unknown_patients: bool,
    compute: Compute,
    seed: int,
    reading: Reading,
    json_file: str | None,
) -> int:
    """Look for duplicates, leaks, contradictory labels, confounding and bad films in MANIFEST.

    It takes manifest CSVs, image folders, and NAME:PATH; several are audited as one set, and several manifests without
    a split column count as one split each. One pass over the films.

    \b
    Example: fscxr data audit films.csv --json audit.json --html audit.html --fail-on leak,duplicates
             fscxr data audit train.csv test.csv --fail-on leak
             fscxr data audit films.csv --checkpoint run --html audit.html
    """
    for name in fail_on or ():
        lookup(CHECKS, name, what="check")
    records = read_sources(sources, reading, as_splits=True)
    console.say_records(records)
    with console.bars_for(compute) as compute:
        audit = audit_films(records, n_workers=compute.n_workers, seed=seed, progress=compute.progress)
        if checkpoint is not None:
            audit = replace(audit, embedding=audit_embedding(checkpoint, records, seed=seed, compute=compute))
    by_source = counts_table(audit.confounding.by_source, "Films by finding and source")
    tables = [by_source, confounding_table(audit), checks_table(audit)]
    if audit.embedding is not None:
        console.print_line(audit.embedding.first_line)
        tables.insert(0, embedding_table(audit.embedding))
    console.show_tables(tables)
    console.say_notes(audit.notes)
    console.write_result(audit.to_json(), json_file)
    if html_file is not None:
        console.write_page(html_file, report.render_page(report.audit_page(audit, records)))
        console.say(f"written: {html_file}")
    failed = audit.failed(fail_on or ())
    if failed:
        console.say(f"failed: {', '.join(failed)} (--fail-on)")
    unassessed = () if allow_unknown_patients else audit.unassessed(fail_on or ())
    if unassessed:
        whose = f"the patients of {audit.films.n_films_without_patient:,} of {audit.films.n_films:,} films are unknown"
        way_out = "name them (--patient-column, --patient-pattern), or pass with --allow-unknown-patients"
        console.say(f"cannot be assessed: {', '.join(unassessed)} (--fail-on): {whose}; {way_out}")
    return CHECK_FAILED if failed or unassessed else 0
