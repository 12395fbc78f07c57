"""Films that a command was given: the flags that say how they are read, and the reading."""

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from fewshot_cxr._checks import nearest
from fewshot_cxr.cli.flags import Command, several
from fewshot_cxr.data import (
    NO_FINDING,
    READERS,
    assert_no_leak,
    cut_findings,
    keep_findings,
    merge_records,
    read_dataset,
)
from fewshot_cxr.records import Records

_TEXT, _NAMES, _SWITCH = "text", "A,B,C", "switch"
# Options of the readers: flag, what it takes, help. Which reader has which is asked of its signature.
_READING = {
    "root": ("--root", _TEXT, "Manifest: folder that its paths start from."),
    "path_column": ("--path-column", _TEXT, "Manifest: column with the file."),
    "label_column": ("--label-column", _TEXT, "Manifest: column with the finding."),
    "group_column": ("--group-column", _TEXT, "Manifest: column that joins films of one patient."),
    "patient_column": ("--patient-column", _TEXT, "Manifest: column with the patient."),
    "patient_pattern": ("--patient-pattern", _TEXT, "Folder: regular expression; its first group is the patient."),
    "finding": ("--finding", _TEXT, "Folder: finding of films that lie directly in it."),
    "any_name": ("--any-name", _SWITCH, "Folder: DICOM files without a suffix too."),
    "salt_file": ("--salt-file", _TEXT, "DICOM: secret that makes patient ids lasting."),
    "keep_patient_ids": ("--keep-patient-ids", _SWITCH, "DICOM: patient ids in clear."),
    "version": ("--version", _TEXT, "covidx: such as 9A.  [default: the newest with three classes]"),
    "classes": ("--classes", _TEXT, "coronahack, covid19_radiography, chestxray14: rule that makes the findings."),
    "patient_key": ("--patient-key", _TEXT, "coronahack: what of a file's name is the patient."),
    "official_split": ("--official-split", _SWITCH, "coronahack: keep TRAIN and TEST."),
    "table": ("--table", _TEXT, "chestxray14: which table of films."),
    "finding_level": ("--finding-level", _TEXT, "covid_chestxray: leaf, path, level1, ...  [default: leaf]"),
    "views": ("--views", _NAMES, "covid_chestxray: such as PA,AP, or all.  [default: frontal ones]"),
    "modality": ("--modality", _NAMES, "covid_chestxray: such as X-ray.  [default: X-ray]"),
}
_FINDINGS = "Keep the films with one finding alone, and that one of these."
_WITH_OTHERS = "--findings: keep films that show one of them and others besides, too."


def reading_flags(command: Command, *, are_shown: bool = False) -> Command:
    """Add --findings, --with-others, and the flags of the readers, which `data read --help` shows."""
    flags = [click.option("--findings", metavar=_NAMES, help=_FINDINGS)]
    flags.append(click.option("--with-others", is_flag=True, default=None, help=_WITH_OTHERS))
    for name, (flag, kind, text) in _READING.items():
        more: dict[str, Any] = {"is_flag": True, "default": None} if kind is _SWITCH else {"metavar": kind.upper()}
        flags.append(click.option(flag, name, help=text, hidden=not are_shown, **more))
    return several(*flags)(command)


def take_reading(options: dict[str, Any]) -> dict[str, Any]:
    """Take the reading flags out of a command's options."""
    return {name: options.pop(name, None) for name in (*_READING, "findings", "with_others")}


def read_films(
    source: str,
    reading: dict[str, Any],
    *,
    single_label: bool = False,
    several: bool = False,
    allow_leak: bool = False,
) -> Records:
    """Read `NAME:PATH`, or a path alone: a manifest CSV or an image folder.

    Only a known reader's name is split off, so that C:\\films stays a path.

    Args:
        source: as a person wrote it.
        reading: of `take_reading`.
        single_label: leave out films with several findings, and say so.
        several: keep every film, whatever it shows; see `choose_findings`.
        allow_leak: take films whose splits share a patient.
    """
    name, rest = reader_and_path(source)
    options = {option: value for option, value in reading.items() if value is not None and option in _READING}
    check_fit(options, (name,))
    if not rest.strip():
        raise click.UsageError(f"{source!r} names no file or folder; an empty variable, perhaps")
    if not Path(rest).exists():
        stranger = source.partition(":")[0]
        hint = nearest(stranger, READERS) if ":" in source and name != stranger else ""
        raise click.UsageError(f"{source}: no such file or folder{hint and f', and no reader {stranger!r}{hint}'}")
    for option, value in options.items():
        options[option] = names_in(value, _READING[option][0]) if _READING[option][1] is _NAMES else value
    if allow_leak and fits("allow_leak", name):
        options["allow_leak"] = True
    records = read_dataset(name, rest, **options)
    if not allow_leak:
        assert_no_leak(records)
    return choose_findings(records, reading, single_label=single_label, several=several)


def choose_findings(
    records: Records, reading: dict[str, Any], *, single_label: bool = False, several: bool = False
) -> Records:
    """Keep the films that --findings asks for, or else, where one finding a film is needed, those with one.

    Where a film may show several, all films stay, and their labels hold what --findings names, or all but "No Finding".
    """
    findings, with_others = reading.get("findings"), bool(reading.get("with_others"))
    if several:
        if with_others:
            raise click.UsageError("--with-others does not go with films of several findings: all films are kept")
        every = tuple(name for name in records.findings if name != NO_FINDING)
        return cut_findings(records, every if findings is None else names_in(findings, "--findings"))
    if findings is not None:
        return keep_findings(records, names_in(findings, "--findings"), with_others=with_others)
    if with_others:
        raise click.UsageError("--with-others goes with --findings: name the findings that count")
    is_single = all(len(film.findings) == 1 for film in records)
    return records if is_single or not single_label else keep_findings(records)


def read_sources(sources: Sequence[str], reading: dict[str, Any], *, as_splits: bool = False) -> Records:
    """Read one source, or several as one list; patients in two splits are allowed.

    An option goes to the sources whose reader has it. Sources of one reader share their patients: apart, a patient of
    two manifests could be on both sides of a split.

    Args:
        sources: as a person wrote them.
        reading: of `take_reading`.
        as_splits: a film of several manifests, or of several folders, that states no split gets the name of its source
            as its split.
    """
    if len(sources) == 1:
        return read_films(sources[0], reading, allow_leak=True)
    readers = [reader_and_path(source)[0] for source in sources]
    given = {option: value for option, value in reading.items() if value is not None and option in _READING}
    check_fit(given, readers)
    split_names = _short_names(sources)
    parts: dict[str, Records] = {}
    patients: dict[str, str] = {}
    for source, reader in zip(sources, readers, strict=True):
        n_before = list(patients.values()).count(reader)
        name = f"{reader}-{n_before + 1}" if n_before else reader
        own = {option: value for option, value in given.items() if fits(option, reader)}
        parts[name] = read_films(source, own, allow_leak=True)
        patients[name] = reader
        if as_splits and readers.count(reader) > 1 and reader in ("manifest", "image_folder"):
            films = tuple(replace(film, split=film.split or split_names[source]) for film in parts[name])
            parts[name] = replace(parts[name], films=films)
    merged = merge_records(parts, patients=patients, name_sources=not as_splits, keep_repeats=as_splits)
    shared = [reader for reader in dict.fromkeys(readers) if readers.count(reader) > 1]
    notes = tuple(f"the same patient id in two sources of {reader} is taken for one patient" for reader in shared)
    merged = replace(merged, notes=merged.notes + notes)
    return choose_findings(merged, reading)


def _short_names(sources: Sequence[str]) -> dict[str, str]:
    """Name each source after its file, with as many folders before it as tell them apart."""
    parts = {source: Path(reader_and_path(source)[1]).resolve().with_suffix("").parts for source in sources}
    for length in range(1, max(map(len, parts.values())) + 1):
        names = {source: "/".join(own[-length:]) for source, own in parts.items()}
        if len(set(names.values())) == len(parts):
            return names
    return {source: source for source in sources}


def reader_and_path(source: str) -> tuple[str, str]:
    """Split `NAME:PATH`; without a known name a folder is an image folder, and a file a manifest."""
    name, colon, rest = source.partition(":")
    if colon and name in READERS:
        return name, rest
    return ("image_folder" if Path(source).is_dir() else "manifest"), source


def fits(option: str, reader: str) -> bool:
    """Return whether a reader has this option."""
    return option in inspect.signature(READERS[reader]).parameters


def check_fit(options: Iterable[str], readers: Sequence[str]) -> None:
    """Refuse reading flags that none of the readers has."""
    foreign = [_READING[option][0] for option in options if not any(fits(option, reader) for reader in readers)]
    if foreign:
        raise click.UsageError(f"{', '.join(foreign)} does not fit {' or '.join(readers)} data")


def names_in(text: str, flag: str) -> tuple[str, ...]:
    """Take the names out of "A,B,C"; none at all is wrong use of the flag."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise click.UsageError(f"{flag} {text!r} names nothing; write {flag} A,B,C")
    return names
