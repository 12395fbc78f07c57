"""`fscxr data`: what can be done with a list of films before any training."""

from pathlib import Path
from typing import Any

import click

from fewshot_cxr.cli.console import say, say_records, show_table, write_result
from fewshot_cxr.cli.flags import json_flag, read_films, reading_flags, seed_flag, take_reading
from fewshot_cxr.data import split_by_patient, write_manifest
from fewshot_cxr.records import Records


@click.group()
def command() -> None:
    """Split films by patient."""


@command.command()
@click.argument("source")
@click.option("--fractions", default="0.7,0.1,0.2", show_default=True, help="Of train, val, test; they sum to 1.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The manifest to write.")
@seed_flag
@reading_flags
@json_flag
def split(source: str, fractions: str, out: Path, seed: int, json_file: str | None, **options: Any) -> None:
    """Split the films of SOURCE into train, val and test, whole patients only.

    SOURCE is a manifest CSV, an image folder, or NAME:PATH.

    \b
    Example: fscxr data split films/metadata.csv --fractions 0.6,0.1,0.3 --seed 0 --out split.csv
    """
    shares = _numbers(fractions)
    records = read_films(source, take_reading(options))
    say_records(records)
    parts = split_by_patient(records, shares, seed=seed)
    whole = Records(tuple(film for part in parts for film in part), records.root, records.problems, records.notes)
    for note in dict.fromkeys(note for part in parts for note in part.notes if note not in records.notes):
        say(f"note: {note}")
    write_manifest(whole, out, header={"seed": seed, "fractions": list(shares)})
    _show(parts, records.findings, to_stderr=json_file == "-")
    write_result(
        {"n_films": len(whole), "data_hash": whole.data_hash, "by_split": whole.count_by(lambda film: film.split)},
        json_file,
    )
    say(f"written: {out}")


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(f"--fractions {text}: three numbers such as 0.7,0.1,0.2 were expected") from None
    if len(numbers) != 3:
        raise click.UsageError(
            f"--fractions {text}: three numbers were expected (train, val, test), got {len(numbers)}"
        )
    return numbers


def _show(parts: tuple[Records, ...], findings: tuple[str, ...], *, to_stderr: bool) -> None:
    rows = []
    for part in parts:
        counts = part.count_by(lambda film: film.finding)
        n_patients = len({film.group for film in part})
        rows.append([part[0].split or "", str(len(part)), str(n_patients), *(str(counts.get(f, 0)) for f in findings)])
    show_table("Films by split", ["split", "films", "patients", *findings], rows, to_stderr=to_stderr)
