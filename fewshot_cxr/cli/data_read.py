"""`fscxr data read`: data sets as they lie on disk become one manifest."""

import hashlib
import json
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from fewshot_cxr import data
from fewshot_cxr._visible import one_form
from fewshot_cxr.cli.console import progress_bars, say, say_notes, say_problems, show_table, write_result
from fewshot_cxr.cli.flags import decoding_flag, json_flag, seed_flag
from fewshot_cxr.cli.outputs import check_manifest, keeps_paths, manifest_file
from fewshot_cxr.cli.sources import Reading, choose_findings, read_sources, reader_and_path, reading_flags, told_sources
from fewshot_cxr.records import Records
from fewshot_cxr.unknown_patients import patients_cell, records_text

_MOST_COLUMNS = 4


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--out", type=manifest_file, help="The manifest to write.")
@click.option("--map", "renamings", multiple=True, metavar="OLD=NEW", help="Call a finding by another name; repeat it.")
@click.option("--per-finding", type=click.IntRange(1), metavar="N", help="Draw at most N films of each, by --seed.")
@click.option("--same-patients", is_flag=True, help="The same patient id in several sources is one patient.")
@click.option("--verify/--no-verify", default=True, help="Decode every film.")
@click.option("--strict", is_flag=True, help="Fail if any row cannot be used.")
@decoding_flag
@seed_flag
@partial(reading_flags, are_shown=True)
@json_flag
def command(
    *,
    sources: tuple[str, ...],
    out: Path | None,
    renamings: tuple[str, ...],
    per_finding: int | None,
    same_patients: bool,
    verify: bool,
    strict: bool,
    n_workers: int | None,
    seed: int,
    reading: Reading,
    json_file: str | None,
) -> None:
    """Read each SOURCE (NAME:PATH, a manifest CSV, or an image folder), and write one manifest of all films.

    Rows that are missing, unreadable or named twice are counted, named and left out.

    \b
    Names: brax, chestxray14, chexpert, coronahack, covid19_radiography, covid_chestxray, covidx, image_folder,
             manifest, mimic_cxr_jpg, montgomery, padchest, rsna_pneumonia, shenzhen, siim_acr, vindr_cxr
    Example: fscxr data read covidx:/data/COVIDx --version 9A --out films.csv
             fscxr data read coronahack:/data/corona image_folder:/data/ours --map bacteria=pneumonia --out films.csv
    """
    names, told = _renamings(renamings), told_sources(sources, keep_paths=keeps_paths())
    settings = [sorted(names.items()), same_patients, per_finding, seed if per_finding else None, asdict(reading)]
    header: dict[str, object] = {"read": told}
    header |= {"settings": hashlib.sha256(json.dumps(settings, default=str).encode()).hexdigest()[:16]}
    if out is not None:
        check_manifest(out, [reader_and_path(source)[1] for source in sources], header)
    # Chosen by the new names, so after renaming.
    records = read_sources(sources, reading.of_all_findings(), same_patients=same_patients)
    records = choose_findings(data.rename_findings(records, names), reading)
    if per_finding is not None:
        records = data.take_per_finding(records, per_finding, seed=seed)
    if verify:
        with progress_bars() as progress:
            records = data.verify_films(records, n_workers=n_workers, progress=partial(progress, "decoding"))
    leak = _leak(records)
    if strict:
        data.check_whole(records)
        if leak:
            raise OSError(leak)
    _show(records)
    if leak:
        say(f"note: {leak}")
    if not records:
        raise FileNotFoundError(f"none of {len(records.problems)} films is readable; the first reasons are above")
    if out is not None:
        header |= {"n_left_out": len(records.problems)}
        data.write_manifest(records, out, header=header, keep_paths=keeps_paths())
        say(f"written: {out} (next: fscxr data audit {out} --json audit.json;")
        say(f"  fscxr data split {out} --audit audit.json --out split.csv)")
    write_result(data.summarise(records), json_file)


def _leak(records: Records) -> str:
    """Say what is in two splits, which training would refuse."""
    try:
        data.assert_no_leak(records)
    except ValueError as error:
        return str(error)
    return ""


def _renamings(texts: tuple[str, ...]) -> dict[str, str]:
    names = {}
    for text in texts:
        old, equals, new = (part.strip() for part in one_form(text).partition("="))
        if not (equals and old and new):
            raise click.UsageError(f"--map {text}: OLD=NEW was expected, such as bacteria=pneumonia")
        names[old] = new
    return names


def _show(records: Records) -> None:
    say_notes(records.notes)
    say_problems(records)
    sources = records.count_by(lambda film: film.source)
    shown = sorted(sources, key=lambda name: -sources[name])[:_MOST_COLUMNS]
    others = ["other sources"] if len(sources) > len(shown) else []
    rows = []
    for finding in records.findings:
        own = [film for film in records if finding in film.findings]
        by_source = Counter(film.source or "not stated" for film in own)
        counts = [by_source[name] for name in shown]
        counts += [len(own) - sum(counts)] if others else []
        rows.append([finding, str(len(own)), patients_cell(own), *map(str, counts)])
    show_table("Films by finding and source", ["finding", "films", "patients", *shown, *others], rows)
    splits = records.count_by(lambda film: film.split)
    by_view = Counter((film.view or "not stated", film.split or "not stated") for film in records)
    views = records.count_by(lambda film: film.view)
    rows = [[view, str(count), *(str(by_view[view, split]) for split in splits)] for view, count in views.items()]
    show_table("Films by view and split", ["view", "films", *splits], rows)
    n_rows = data.summarise(records)["n_rows"]
    say(f"{records_text(records)}, from {n_rows} rows")
