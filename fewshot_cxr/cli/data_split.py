"""`fscxr data split`: train, val and test by patient, in one of five ways."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from fewshot_cxr import (
    data,
    evaluation,  # each name loads when it is asked for: no SciPy without an audit
)
from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.cli.console import say, say_notes, say_records, show_table, write_result
from fewshot_cxr.cli.flags import comma_names, file_path, json_flag, seed_flag
from fewshot_cxr.cli.outputs import check_manifest, keeps_paths, manifest_file
from fewshot_cxr.cli.sources import Reading, read_films, reader_and_path, reading_flags, told_sources
from fewshot_cxr.records import Records
from fewshot_cxr.unknown_patients import count_unknown, patients_cell
from fewshot_cxr.workflows.run_files import read_audit

_SHARES = "0.7,0.1,0.2"
_MOST_COLUMNS = 6
_LONGEST_NAME = 60


@dataclass(frozen=True)
class _Split:
    """One manifest to write: what its name ends with, train, val and test, how they came about, whose its notes are."""

    ending: str
    parts: Sequence[Records]
    header: dict[str, Any]
    whose: str = ""

    def file(self, out: Path) -> Path:
        """Return the manifest to write beside, or as, `out`."""
        return out.with_name(f"{out.stem}{self.ending}{out.suffix}")


@click.command()
@click.argument("source")
@click.option("--fractions", help=f"Of train, val, test; they sum to 1.  [default: {_SHARES}]")
@click.option("--folds", "n_folds", type=click.IntRange(3), help="Folds: OUT-0.csv tests on the first, and so on.")
@click.option("--leave-source-out", is_flag=True, help="For each source OUT-<source>.csv, which tests on it.")
@click.option("--per-class", metavar="TEST,VAL", help="Films of each class in test and in val, such as 60,60.")
@click.option(
    "--novel",
    metavar="A,B",
    callback=comma_names,
    help="Findings in test alone; --fractions of the patients without one.",
)
@click.option("--audit", "audit_file", type=file_path, help="Of SOURCE, by data audit --json: copies stay together.")
@click.option("--copies", type=click.Choice(["group", "drop"]), help="Exact ones: keep all or one.  [default: group]")
@click.option("--out", required=True, type=manifest_file, help="The manifest to write.")
@seed_flag
@reading_flags
@json_flag
def command(
    *,
    source: str,
    fractions: str | None,
    n_folds: int | None,
    leave_source_out: bool,
    per_class: str | None,
    novel: tuple[str, ...] | None,
    audit_file: Path | None,
    copies: str | None,
    out: Path,
    seed: int,
    reading: Reading,
    json_file: str | None,
) -> None:
    """Split the films of SOURCE into train, val and test, whole patients only.

    SOURCE is a manifest CSV, an image folder, or NAME:PATH. A split that it has already gives way to the new one.

    \b
    Example: fscxr data split films.csv --fractions 0.6,0.1,0.3 --seed 0 --out split.csv
             fscxr data split films.csv --folds 5 --out split.csv
             fscxr data audit films.csv --json audit.json
             fscxr data split films.csv --audit audit.json --copies drop --out apart.csv
    """
    ways = {"--folds": n_folds, "--leave-source-out": leave_source_out, "--per-class": per_class, "--novel": novel}
    given = [flag for flag, value in ways.items() if value not in (None, False)]
    if fractions is not None and given != ["--novel"]:
        given.insert(0, "--fractions")
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} exclude each other: a film is split in one way")
    shares = _numbers("--fractions", fractions or _SHARES, float, _SHARES, ("train", "val", "test"))
    counts = None if per_class is None else _numbers("--per-class", per_class, int, "60,60", ("test", "val"))
    if counts is not None and (counts[0] < 1 or counts[1] < 0):
        raise click.UsageError(f"--per-class {per_class}: 1 or more for test and 0 or more for val were expected")
    records, used = _use_audit(read_films(source, reading, allow_leak=True), audit_file, copies)
    say_records(records)
    if n_folds is not None:
        folds, header = data.k_folds(records, n_folds, seed=seed), {"kind": "folds", "seed": seed, "n_folds": n_folds}
        splits = [_Split(f"-{at}", data.fold_split(folds, at), {**header, "test_fold": at}) for at in range(n_folds)]
    elif leave_source_out:
        splits = _sources(records, seed)
    elif counts is not None:
        header = {"kind": "per_class", "seed": seed, "n_test": counts[0], "n_val": counts[1]}
        splits = [_Split("", data.fixed_counts(records, *counts, seed=seed), header)]
    elif novel is not None:
        header = {"kind": "novel", "seed": seed, "novel": list(novel), "fractions": list(shares)}
        splits = [_Split("", data.novel_classes(records, novel, shares, seed=seed), header)]
    else:
        header = {"kind": "fractions", "seed": seed, "fractions": list(shares)}
        splits = [_Split("", data.split_by_patient(records, shares, seed=seed), header)]
    # Folds share their notes, and a source's say whose they are.
    say_notes(dict.fromkeys(f"{split.whose}{note}" for split in splits for note in _new_notes(records, split)))
    read = {"read": told_sources([source], keep_paths=keeps_paths())}
    splits = [replace(split, header={**read, **split.header, **used}) for split in splits]
    with only_writer(out, is_folder=False):  # folds of two draws do not go together
        for split in splits:
            check_manifest(split.file(out), [reader_and_path(source)[1]], split.header)
        written = [_write(records, split, out) for split in splits]
    one = {name: value for name, value in written[0].items() if name != "file"} if len(written) == 1 else {}
    write_result({**one, "manifests": written}, json_file)


def _use_audit(records: Records, file: Path | None, copies: str | None) -> tuple[Records, dict[str, Any]]:
    """Return the films with their copies joined, and what the manifest says of it."""
    if file is None:
        if copies is not None:
            raise click.UsageError("--copies needs --audit: an audit tells which films are copies")
        return records, {}
    audit, copies = read_audit(file), copies or "group"
    try:
        joined = evaluation.join_copies(records, audit, copies=copies)
    except ValueError as error:
        raise ValueError(f"--audit {file}: {error}") from error
    facts = {"copies": copies, "notes": joined.notes[len(records.notes) :], "data_hash": audit.data_hash}
    return joined, {"audit": {**facts, "n_dropped": len(records) - len(joined)}}


def _sources(records: Records, seed: int) -> list[_Split]:
    splits = []
    taken: Counter[str] = Counter()
    for source, parts in data.leave_one_source_out(records, seed=seed).items():
        # A source may be an address, and two may come to one name, not least where names know no case.
        name = re.sub(r"[^\w.-]+", "_", source, flags=re.ASCII).strip("._-")[:_LONGEST_NAME] or "source"
        taken[name.lower()] += 1
        ending = f"-{name}" if taken[name.lower()] == 1 else f"-{name}-{taken[name.lower()]}"
        header = {"kind": "leave_source_out", "seed": seed, "source": source}
        splits.append(_Split(ending, parts, header, f"without {source}: "))
    return splits


def _new_notes(records: Records, split: _Split) -> list[str]:
    return list(dict.fromkeys(note for part in split.parts for note in part.notes if note not in records.notes))


def _write(records: Records, split: _Split, out: Path) -> dict[str, Any]:
    """Write one manifest, print its table, and return what the JSON says of it."""
    whole = Records(tuple(film for part in split.parts for film in part), records.root, records.problems)
    file = split.file(out)
    data.write_manifest(whole, file, header=split.header, keep_paths=keeps_paths())
    _show(split, records.findings, f"Films by split: {file.name}" if split.ending else "Films by split")
    say(f"written: {file}")
    by_split = whole.count_by(lambda film: film.split)
    counts = {"n_films": len(whole), "data_hash": whole.data_hash, "by_split": by_split}
    counts["n_films_without_patient"] = count_unknown(whole)
    settings = {name: value for name, value in split.header.items() if name != "read"}
    return {"file": str(file), **settings, **counts, "notes": _new_notes(records, split)}


def _show(split: _Split, findings: Sequence[str], title: str) -> None:
    rows = [["split", "films", "patients", *findings]]
    for name, part in zip(("train", "val", "test"), split.parts, strict=True):
        counts = part.count_findings()
        rows.append([name, str(len(part)), patients_cell(part), *(str(counts.get(finding, 0)) for finding in findings)])
    if len(findings) > _MOST_COLUMNS:
        rows = [list(column) for column in zip(*rows, strict=True)]
    show_table(title, rows[0], rows[1:])


def _numbers(flag: str, text: str, kind: type, such_as: str, parts: tuple[str, ...]) -> tuple[Any, ...]:
    word = {2: "two", 3: "three"}[len(parts)]
    try:
        numbers = tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(f"{flag} {text}: {word} numbers such as {such_as} were expected") from None
    if len(numbers) != len(parts):
        raise click.UsageError(f"{flag} {text}: {word} numbers were expected ({', '.join(parts)}), got {len(numbers)}")
    return numbers
