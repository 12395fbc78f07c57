"""What the audit of a set of films has found: a page with the films to look at, and a section of a longer page."""

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import numpy as np
from PIL import Image

from fewshot_cxr.data import read_gray
from fewshot_cxr.evaluation.audit.result import Audit, NearDuplicate
from fewshot_cxr.records import Record, Records
from fewshot_cxr.report.audit_tables import checks_table, confounding_table, counts_table, v_text
from fewshot_cxr.report.html import Headline, Page, Section
from fewshot_cxr.report.pictures import Picture
from fewshot_cxr.report.tables import UNKNOWN, Table

_Show = Callable[[Sequence[str], str], Picture]
_MOST_PICTURES = 12
_MOST_ROWS = 50
_HEIGHT_PX, _WIDEST_PX = 320, 640  # twice what is shown
_YES = {True: "yes", False: "no", None: "not stated"}


def audit_page(audit: Audit, records: Records, title: str = "Audit of the films") -> Page:
    """Return the page of an audit.

    Args:
        audit: of `audit_films`.
        records: the films that it looked at; those that are shown are decoded again.
        title: of the page.
    """
    confounding, films = audit.confounding, audit.films
    value = confounding.cramers_v.number.mean
    checks = checks_table(audit).rows
    show = partial(_picture, records, {film.path: film for film in records})
    headlines = (
        Headline(f"{films.n_films:,}", "films", f"{films.n_patients:,} patients stated"),
        Headline(UNKNOWN if checks[0][2].startswith("cannot") else f"{len(audit.leaks):,}", "leaks between splits"),
        Headline(f"{len(audit.near_duplicates):,}", "near-duplicate pairs"),
        Headline(
            UNKNOWN if value is None else f"{value:.2f}", "Cramer's V", "finding and source; 1 is complete confounding"
        ),
    )
    found = (
        ("Near duplicates: saved anew", audit.near_duplicates),
        ("Possible duplicates: re-cropped, marked, or a moment apart", audit.possible_duplicates),
    )
    sections = (
        Section("Checks", facts=tuple((name, f"{state} {what}".removeprefix("- ")) for name, state, what in checks)),
        _confounding_section(audit),
        *(_pairs_section(heading, pairs, show) for heading, pairs in found if pairs),
        *_list_sections(audit),
        *_mark_sections(audit, show),
        Section("Films", table=counts_table(films.views.by_finding, "Films by finding and view"), facts=_facts(audit)),
    )
    return Page(title, lead=(_lead(audit),), headlines=headlines, cautions=audit.notes, sections=sections)


def audit_section(audit: Audit, name: str, *, hashes: Collection[str] = ()) -> Section:
    """Show the checks with hits, and how well the finding follows from what is no sign of it.

    Args:
        audit: of `audit_films`.
        name: what to call it.
        hashes: of the films of the page's runs; where the audit's is not among them, that is said.
    """
    told = [audit_text(audit)]
    if hashes and audit.data_hash not in hashes:
        told.append(
            f"The audit was of another list of films (hash {audit.data_hash[:12]}) than the runs of this page: other "
            "films, or other splits of the same ones."
        )
    tables = (checks_table(audit), confounding_table(audit))
    facts = (("hash of the audited films", audit.data_hash), *(("note", note) for note in audit.notes))
    return Section(f"Audit of the films: {name}", tuple(told), tables=tables, facts=facts)


def audit_text(audit: Audit) -> str:
    """Return which checks have found something, in one sentence."""
    failed = [name.replace("_", " ") for name in audit.failed()]
    if not failed:
        return "The audit of the films has found nothing. That does not prove the set free of faults."
    return f"The audit of the films has found: {', '.join(failed)}."


def _lead(audit: Audit) -> str:
    failed = audit.failed()
    if not failed:
        return "None of the checks has found anything. That does not prove the set free of faults."
    return f"{len(failed)} checks have found something: {', '.join(name.replace('_', ' ') for name in failed)}."


def _confounding_section(audit: Audit) -> Section:
    confounding = audit.confounding
    paragraphs = (
        f"Finding and source: {v_text(confounding.cramers_v)}.",
        "A classifier that sees nothing of the lungs should do no better than chance. Where it does, a network can "
        "learn the hospital instead of the disease, and no split by patient prevents that. The thumbnail holds the "
        "chest itself: it is no fault, but the floor that a model has to beat.",
        *confounding.notes,
    )
    return Section("Confounding", paragraphs, table=confounding_table(audit))


def _pairs_section(heading: str, found: Sequence[NearDuplicate], show: _Show) -> Section:
    # First what harms most: other labels, then other patients.
    pairs = sorted(found, key=lambda pair: (pair.same_label, pair.same_patient is not False))
    pictures = []
    for pair in pairs[:_MOST_PICTURES]:
        label = "same label" if pair.same_label else "different labels"
        patient = {True: "same patient", False: "different patients", None: "patient not stated"}[pair.same_patient]
        caption = f"{pair.a} | {pair.b}: {label}, {patient}, correlation {pair.correlation:.3f}"
        pictures.append(show((pair.a, pair.b), caption))
    rows = [
        (f"{p.a}, {p.b}", str(p.hamming), f"{p.correlation:.3f}", _YES[p.same_patient], _YES[p.same_label])
        for p in pairs
    ]
    table = _table(("films", "hamming", "correlation", "same patient", "same label"), rows, "pairs")
    return Section(heading, pictures=tuple(pictures), table=table, is_gallery=True)


def _list_sections(audit: Audit) -> list[Section]:
    """Return a table of each kind of thing that was found; of none, none."""
    copies = [
        (", ".join(one.paths[:5]), str(len(one.paths)), one.by, _YES[one.same_patient], _YES[one.same_label])
        for one in audit.exact_duplicates
    ]
    leaks = [
        (leak.name or ", ".join(leak.paths[:2]), leak.by.replace("_", " "), ", ".join(leak.splits))
        for leak in audit.leaks
    ]
    patients = [(who.patient, ", ".join(who.findings), str(who.n_films)) for who in audit.contradictory_patients]
    unreadable = [(film.path, film.reason) for film in audit.films.unreadable]
    of_copies = ("films (the first five)", "films", "same", "same patient", "same label")
    lists: tuple[tuple[str, Sequence[tuple[str, ...]], tuple[str, ...], str], ...] = (
        ("Exact duplicates", copies, of_copies, "groups"),
        ("Leaks between splits", leaks, ("who or what", "by", "splits"), "leaks"),
        ("Patients with contradictory labels", patients, ("patient", "findings", "films"), "patients"),
        ("Films that cannot be read", unreadable, ("film", "why"), "films"),
    )
    return [Section(heading, table=_table(columns, rows, what)) for heading, rows, columns, what in lists if rows]


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], what: str) -> Table:
    first = f", the first {_MOST_ROWS}" if len(rows) > _MOST_ROWS else ""
    return Table(columns, tuple(rows[:_MOST_ROWS]), f"{len(rows):,} {what}{first}")


def _mark_sections(audit: Audit, show: _Show) -> list[Section]:
    sections = []
    for mark, paths in audit.films.marks.items():
        if paths:
            pictures = tuple(show((path,), path) for path in paths[: _MOST_PICTURES // 2])
            heading = mark.replace("_", " ").capitalize()
            told = f"{len(paths):,} films; {len(pictures)} are shown. The mark is a guess from the pixels: look."
            sections.append(Section(heading, (told,), pictures, is_gallery=True))
    return sections


def _facts(audit: Audit) -> tuple[tuple[str, str], ...]:
    sizes = audit.films.sizes
    named = {"width_px": "width, px", "height_px": "height, px", "aspect_ratio": "width by height"}
    told = [
        (text, f"{sizes[name]['minimum']:.4g} to {sizes[name]['maximum']:.4g}, median {sizes[name]['median']:.4g}")
        for name, text in named.items()
        if name in sizes
    ]
    run = (("data hash", audit.data_hash), ("seed", str(audit.seed)), ("fewshot_cxr", audit.version))
    return (*told, *run, ("seconds", f"{audit.seconds:.1f}"))


def _picture(records: Records, film_of: Mapping[str, Record], paths: Sequence[str], caption: str) -> Picture:
    """Return films side by side."""
    films = []
    for path in paths:
        gray = Image.fromarray(read_gray(records.file(film_of[path])))
        # No film may make the page wide or heavy: one of 1 x 3000 pixels would else become a million wide.
        width = min(round(gray.width * _HEIGHT_PX / gray.height), _WIDEST_PX)
        films.append(np.asarray(gray.resize((max(1, width), _HEIGHT_PX))))
        films.append(np.zeros((_HEIGHT_PX, 8), dtype=np.uint8))
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(films[:-1], axis=1)).save(buffer, format="png")
    return Picture(buffer.getvalue(), alt=f"Film {' beside film '.join(paths)}", caption=caption)
