"""Films that a command was given: the flags that say how they are read, and the reading."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import click

from fewshot_cxr import data
from fewshot_cxr._checks import nearest
from fewshot_cxr.cli.flags import as_one, comma_names
from fewshot_cxr.records import Record, Records
from fewshot_cxr.workflows.run_files import short_names

_TEXT, _NAMES, _SWITCH = "text", "A,B,C", "switch"
# Options of the readers: what each takes, help. Which reader has which is asked of its signature.
_READING = {
    "root": (_TEXT, "Manifest: folder that its paths start from."),
    "path_column": (_TEXT, "Manifest: column with the file."),
    "label_column": (_TEXT, "Manifest: column with the finding."),
    "group_column": (_TEXT, "Manifest: column that joins films of one patient."),
    "patient_column": (_TEXT, "Manifest: column with the patient."),
    "patient_pattern": (_TEXT, "Manifest, folder: regular expression for the path; its first group is the patient."),
    "path_suffix": (_TEXT, "Manifest: put behind each path, such as .dcm."),
    "rows": (_TEXT, "Manifest: rows of one film that name other findings: join takes all.  [default: agree]"),
    "finding": (_TEXT, "Folder: finding of films that lie directly in it."),
    "any_name": (_SWITCH, "Folder: DICOM files without a suffix too."),
    "salt_file": (_TEXT, "DICOM: secret that makes patient ids lasting."),
    "keep_patient_ids": (_SWITCH, "DICOM: patient ids in clear."),
    "any_modality": (_SWITCH, "DICOM: take what is no chest X-ray by its header, too."),
    "version": (_TEXT, "covidx: such as 9A.  [default: the newest with three classes]"),
    "classes": (_TEXT, "coronahack, covid19_radiography, chestxray14: rule that makes the findings."),
    "uncertain": (_TEXT, "chexpert, mimic_cxr_jpg, brax: unstated, positive or negative.  [default: unstated]"),
    "labels": (_TEXT, "mimic_cxr_jpg: chexpert or negbio.  [default: chexpert]"),
    "readers": (_TEXT, "vindr_cxr: who must name a finding, majority, any or all.  [default: majority]"),
    "write_masks": (_SWITCH, "siim_acr, montgomery: write a mask file for each film, beside the films."),
    "patient_key": (_TEXT, "coronahack: what of a file's name is the patient."),
    "official_split": (_SWITCH, "coronahack: keep TRAIN and TEST."),
    "table": (_TEXT, "chestxray14: which table of films."),
    "finding_level": (_TEXT, "covid_chestxray: leaf, path, level1, ...  [default: leaf]"),
    "views": (_NAMES, "covid_chestxray, chexpert, ...: such as PA,AP, or all.  [default: frontal ones]"),
    "modality": (_NAMES, "covid_chestxray: such as X-ray.  [default: X-ray]"),
}
READING = (*_READING, "findings", "with_others")  # the names of all that a reading is made of
_FINDINGS = "Keep the films with one finding alone, and that one of these; `common`: one list of names for all sets."
_WITH_OTHERS = "--findings: keep films that show one of them and others besides, too."


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How films are read.

    Args:
        options: of the readers, as they were given.
        findings: films with one of these alone are kept; None: nobody asked.
        with_others: films that show one of `findings` and others besides are kept, too.
        is_common: findings have the names of `data.COMMON_FINDINGS`, whatever their set calls them.
    """

    options: Mapping[str, object] = field(default_factory=dict)
    findings: tuple[str, ...] | None = None
    with_others: bool = False
    is_common: bool = False

    def check_fit(self, readers: Collection[str]) -> None:
        """Refuse options that none of the readers has."""
        given = [name for name in self.options if name != "any_modality"]  # any table may name a DICOM
        foreign = [_flag(name) for name in given if not any(_has(reader, name) for reader in readers)]
        if foreign:
            raise click.UsageError(f"{', '.join(foreign)} does not fit {' or '.join(readers)} data")

    def fitted(self, reader: str) -> "Reading":
        """Return it with the options that a reader has."""
        return replace(self, options={name: value for name, value in self.options.items() if _has(reader, name)})

    def without_finding(self) -> "Reading":
        """Return it without the finding of films that lie in no finding's folder."""
        return replace(self, options={name: value for name, value in self.options.items() if name != "finding"})

    @property
    def any_modality(self) -> bool:
        """Whether DICOM films that are no chest X-rays are taken, too."""
        return "any_modality" in self.options

    def of_all_findings(self) -> "Reading":
        """Return it without a choice of findings."""
        return Reading(options=self.options, is_common=self.is_common)


def reading_flags(command: Callable[..., Any], *, are_shown: bool = False) -> Callable[..., Any]:
    """Add --findings, --with-others, and the flags of the readers, which `data read --help` shows: as `reading`."""
    flags = [
        click.option("--findings", metavar=_NAMES, callback=comma_names, help=_FINDINGS),
        click.option("--with-others", is_flag=True, help=_WITH_OTHERS),
    ]
    for name, (kind, text) in _READING.items():
        more: dict[str, Any] = {"is_flag": True, "default": None} if kind is _SWITCH else {"metavar": kind.upper()}
        more |= {"callback": comma_names} if kind is _NAMES else {}
        flags.append(click.option(_flag(name), name, help=text, hidden=not are_shown, **more))
    return as_one("reading", _reading, *flags)(command)


def _reading(*, findings: tuple[str, ...] | None, with_others: bool, **options: object) -> Reading:
    given = {name: value for name, value in options.items() if value is not None}
    if findings == (data.COMMON,):
        return Reading(options=given, with_others=with_others, is_common=True)
    return Reading(options=given, findings=findings, with_others=with_others)


def read_films(
    source: str, reading: Reading, *, single_label: bool = False, several: bool = False, allow_leak: bool = False
) -> Records:
    """Read `NAME:PATH`, or a path alone: a manifest CSV or an image folder.

    Only a known reader's name is split off, so that C:\\films stays a path.

    Args:
        source: as a person wrote it.
        reading: the flags.
        single_label: leave out films with several findings, and say so.
        several: keep every film, whatever it shows; see `choose_findings`.
        allow_leak: take films whose splits share a patient.
    """
    name, rest = reader_and_path(source)
    reading.check_fit([name])
    if not rest.strip():
        raise click.UsageError(f"{source!r} names no file or folder; an empty variable, perhaps")
    if not Path(rest).exists():
        stranger = source.partition(":")[0]
        hint = nearest(stranger, data.READERS) if ":" in source and name != stranger else ""
        raise click.UsageError(f"{source}: no such file or folder{hint and f', and no reader {stranger!r}{hint}'}")
    more: dict[str, Any] = {"allow_leak": True} if allow_leak and _has(name, "allow_leak") else {}
    options: dict[str, Any] = {**reading.fitted(name).options, **more}
    records = data.read_dataset(name, rest, findings=data.COMMON if reading.is_common else None, **options)
    if reading.any_modality and not _has(name, "any_modality"):
        records = records.each(_of_any_modality)
    if not allow_leak:
        data.assert_no_leak(records)
    return choose_findings(records, reading, single_label=single_label, several=several)


def choose_findings(
    records: Records, reading: Reading, *, single_label: bool = False, several: bool = False
) -> Records:
    """Keep the films that --findings asks for, or else, where one finding a film is needed, those with one.

    Where a film may show several, all films stay, and their labels hold what --findings names, or all but "No Finding".
    """
    findings, with_others = reading.findings, reading.with_others
    if reading.is_common and (several or single_label or with_others):
        left_out = {*data.COMMON_FINDINGS} - {*records.findings} | ({data.NO_FINDING} if several else set())
        findings = tuple(name for name in data.COMMON_FINDINGS if name not in left_out)
    if several:
        if with_others:
            raise click.UsageError("--with-others does not go with films of several findings: all films are kept")
        every = tuple(name for name in records.findings if name != data.NO_FINDING)
        return data.cut_findings(records, every if findings is None else findings)
    if findings is not None:
        return data.keep_findings(records, findings, with_others=with_others)
    if with_others:
        raise click.UsageError("--with-others goes with --findings: name the findings that count")
    is_single = all(len(film.findings) == 1 for film in records)
    return records if is_single or not single_label else data.keep_findings(records)


def read_each(sources: Sequence[str], reading: Reading, *, single_label: bool = False) -> list[Records]:
    """Read several sources; an option goes to those whose reader has it, and patients in two splits are allowed."""
    readers = [reader_and_path(source)[0] for source in sources]
    reading.check_fit(readers)
    takers = [source for source in sources if _takes_finding(source)] if "finding" in reading.options else []
    return [
        read_films(
            source,
            one if source in takers or not takers else one.without_finding(),
            single_label=single_label,
            allow_leak=True,
        )
        for source, one in ((source, reading.fitted(reader)) for source, reader in zip(sources, readers, strict=True))
    ]


def _takes_finding(source: str) -> bool:
    name, path = reader_and_path(source)
    return name == "image_folder" and Path(path).is_dir() and data.takes_finding(path)


def read_sources(
    sources: Sequence[str], reading: Reading, *, as_splits: bool = False, same_patients: bool = False
) -> Records:
    """Read one source, or several as one list; patients in two splits are allowed.

    Whose patients are whose says `patient_namespaces`; those of one public set are the same wherever they lie.

    Args:
        sources: as a person wrote them.
        reading: the flags.
        as_splits: a film of several manifests, or of several folders, that states no split gets the name of its source
            as its split, and all share their patients: apart, a patient of two of them would be no leak.
        same_patients: all sources share their patients.
    """
    if len(sources) == 1:
        return read_films(sources[0], reading, allow_leak=True)
    readers, paths = zip(*map(reader_and_path, sources), strict=True)
    places = [Path(path) for path in paths]
    parts: dict[str, Records] = {}
    own: dict[str, str] = {}  # of each, as whose its patients are known beforehand
    for reader, short, part in zip(
        readers, short_names(places), read_each(sources, reading.of_all_findings()), strict=True
    ):
        is_ours = reader in ("manifest", "image_folder")
        if as_splits and readers.count(reader) > 1 and is_ours:
            part = replace(part, films=tuple(replace(film, split=film.split or short) for film in part))
        name = _unlike(short if is_ours else reader, parts)
        parts[name], own[name] = part, "" if is_ours and not as_splits else data.PATIENTS_OF.get(reader, reader)
    whose = dict.fromkeys(parts, "all") if same_patients else data.patient_namespaces(parts, places)
    whose |= {name: reader for name, reader in own.items() if reader and not same_patients}
    merged = data.merge_records(parts, patients=whose, name_sources=not as_splits, keep_repeats=as_splits)
    notes = tuple(data.namespace_notes(parts, whose))
    return choose_findings(replace(merged, notes=merged.notes + notes), reading)


def _unlike(name: str, others: Collection[str]) -> str:
    """Return a name that is none of the others: itself, or with a number behind."""
    return next(some for some in chain((name,), (f"{name}-{number}" for number in count(2))) if some not in others)


def told_sources(sources: Sequence[str], *, keep_paths: bool) -> list[str]:
    """Return sources as a file that may be mailed names them: by the last part of each path."""
    if keep_paths:
        return list(sources)
    parted = [(source, reader_and_path(source)[1]) for source in sources]
    return [source.removesuffix(path) + (Path(path).name or ".") for source, path in parted]


def reader_and_path(source: str) -> tuple[str, str]:
    """Split `NAME:PATH`; without a known name a folder is an image folder, and a file a manifest."""
    name, colon, rest = source.partition(":")
    if colon and name in data.READERS:
        return name, rest
    return ("image_folder" if Path(source).is_dir() else "manifest"), source


def _of_any_modality(film: Record) -> Record:
    return replace(film, attributes={**film.attributes, "any_modality": "asked for"})


def _has(reader: str, option: str) -> bool:
    return option in inspect.signature(data.READERS[reader]).parameters


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
