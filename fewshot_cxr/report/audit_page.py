"""What the audit of a set of films has found: a page with the films to look at, and a section of a longer page."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import numpy as np
from PIL import Image

from fewshot_cxr.data import read_gray
from fewshot_cxr.evaluation.audit.result import Audit, EmbeddingAudit, NearDuplicate
from fewshot_cxr.records import Record, Records
from fewshot_cxr.report.audit_checks import FOUND, NONE, checks_table, counted
from fewshot_cxr.report.audit_tables import confounding_table, counts_table, embedding_table, v_text
from fewshot_cxr.report.html import Headline, Page, Section
from fewshot_cxr.report.pictures import Picture, image_bytes
from fewshot_cxr.report.tables import UNKNOWN, Table, interval_text, value_text
from fewshot_cxr.unknown_patients import of_patients
from fewshot_cxr.visualise.text import percent

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
    show = partial(_picture, records, {film.path: film for film in records})
    found = (
        ("Near duplicates: saved anew", audit.near_duplicates),
        ("Possible duplicates: re-cropped, marked, or a moment apart", audit.possible_duplicates),
    )
    by_view = counts_table(audit.films.views.by_finding, "Films by finding and view")
    lists = Section("What was found, one by one", folded=(*_list_sections(audit), *_mark_sections(audit, show)))
    known = () if audit.embedding is None else (embedding_section(audit.embedding),)
    first = () if audit.embedding is None else (audit.embedding.first_line,)
    sections = (
        *known,
        *_check_sections(audit),
        *(_pairs_section(heading, pairs, show) for heading, pairs in found if pairs),
        _confounding_section(audit),
        *((lists,) if lists.folded else ()),
        Section("Films", table=by_view, facts=_facts(audit)),
    )
    # The first note says what is counted as contradictory: it stands with the patients.
    return Page(
        title, lead=(*first, _lead(audit)), headlines=_headlines(audit), cautions=audit.notes[1:], sections=sections
    )


def _headlines(audit: Audit) -> tuple[Headline, ...]:
    films, n_leaks, n_near = audit.films, len(audit.leaks), len(audit.near_duplicates)
    value = audit.confounding.cramers_v.number.mean
    states = {name: state for name, state, _ in checks_table(audit).rows}
    whose = of_patients(films.n_films, films.n_patients, films.n_films_without_patient)
    leaks = UNKNOWN if states["leak"] == UNKNOWN else f"{n_leaks:,}"
    return (
        Headline(f"{films.n_films:,}", "film" if films.n_films == 1 else "films", whose.strip()),
        Headline(leaks, "leak between splits" if leaks == "1" else "leaks between splits"),
        Headline(f"{n_near:,}", "pair of near duplicates" if n_near == 1 else "pairs of near duplicates"),
        Headline(
            UNKNOWN if value is None else f"{value:.2f}", "Cramer's V", "finding and source; 1 is complete confounding"
        ),
    )


def _check_sections(audit: Audit) -> list[Section]:
    """Return what was found with what to do, the gravest first, and what is unknown with what would tell it."""
    table = checks_table(audit)
    rows, to_do = table.rows, dict(table.below)
    facts = {
        wanted: tuple(
            (name.replace("_", " "), f"{what}. To do: {to_do[name]}.") for name, state, what in rows if state == wanted
        )
        for wanted in (FOUND, UNKNOWN)
    }
    clean = ", ".join(name.replace("_", " ") for name, state, _ in rows if state == NONE)
    told = (f"Nothing was found by: {clean}. That does not prove the set free of these faults.",) if clean else ()
    sections = [Section("What was found, the gravest first", facts=facts[FOUND])] if facts[FOUND] else []
    heading = "What is unknown, and where nothing was found" if facts[UNKNOWN] else "Where nothing was found"
    return [*sections, Section(heading, told, facts=facts[UNKNOWN])]


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
    known = () if audit.embedding is None else (embedding_table(audit.embedding),)
    told[:0] = [] if audit.embedding is None else [audit.embedding.first_line]
    tables = (*known, checks_table(audit), confounding_table(audit))
    facts = (("hash of the audited films", audit.data_hash), *(("note", note) for note in audit.notes))
    return Section(f"Audit of the films: {name}", tuple(told), tables=tables, facts=facts)


def embedding_section(embedding: EmbeddingAudit) -> Section:
    """Show what the embedding tells beside the finding, and how to read it."""
    paragraphs = (
        embedding.first_line,
        "An embedding that tells the source as well as the finding may owe its accuracy to the hospital. Among films "
        "of one finding no difference of findings helps: what it tells there is the hospital itself.",
        *(
            [f"{counted(embedding.n_training_films, 'film', 'films')} that the encoder was trained on took no part."]
            if embedding.n_training_films
            else []
        ),
        *embedding.notes,
    )
    return Section("Is it the disease or the hospital?", paragraphs, tables=(embedding_table(embedding),))


def embedding_headline(embedding: EmbeddingAudit) -> Headline:
    """Return how well the source is told from the embedding, to stand beside an accuracy."""
    source, label = embedding.tells["source"], "source told from the embedding"
    label += f" of {embedding.encoder}" * bool(embedding.encoder)
    if source.number.mean is None:
        return Headline(UNKNOWN, label, source.number.reason or "")
    ends = interval_text(source.number.ci95)
    note = f"95 % over patients {ends}; chance {percent(source.chance or 0)}"
    return Headline(value_text(source.number), label, note)


def audit_text(audit: Audit) -> str:
    """Return which checks have found something, the gravest first, in one sentence."""
    found = [name.replace("_", " ") for name, state, _ in checks_table(audit).rows if state == FOUND]
    if not found:
        return "The audit of the films has found nothing. That does not prove the set free of faults."
    return f"The audit of the films has found, the gravest first: {', '.join(found)}."


def _lead(audit: Audit) -> str:
    rows = checks_table(audit).rows
    found = [what for _, state, what in rows if state == FOUND]
    n_unknown = sum(state == UNKNOWN for _, state, _ in rows)
    left = f" {counted(n_unknown, 'check', 'checks')} cannot be assessed." if n_unknown else ""
    if not found:
        return "None of the checks has found anything. That does not prove the set free of faults." + left
    has = counted(len(found), "check has found something", "checks have found something, the gravest")
    return f"{has}: {found[0]}." + left


def _confounding_section(audit: Audit) -> Section:
    confounding = audit.confounding
    paragraphs = (
        f"Finding and source: {v_text(confounding.cramers_v)}.",
        "A classifier that sees nothing of the lungs should do no better than chance. Where it does, a network can "
        "learn the hospital instead of the disease, and no split by patient prevents that. The thumbnail holds the "
        "chest itself: it is no fault, but the baseline that a model has to beat.",
        *confounding.notes,
    )
    by_source = counts_table(confounding.by_source, "Films by finding and source")
    return Section("Confounding", paragraphs, tables=(by_source, confounding_table(audit)))


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
    columns = ("films", "differing bits", "correlation", "same patient", "same label")
    table = _table(columns, rows, "pair", "pairs")
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
    lists: tuple[tuple[str, Sequence[tuple[str, ...]], tuple[str, ...], str, str], ...] = (
        ("Leaks between splits", leaks, ("who or what", "by", "splits"), "leak", "leaks"),
        ("Patients with contradictory labels", patients, ("patient", "findings", "films"), "patient", "patients"),
        ("Exact duplicates", copies, of_copies, "group", "groups"),
        ("Films that cannot be read", unreadable, ("film", "why"), "film", "films"),
    )
    return [
        Section(heading, audit.notes[:1] if rows is patients else (), table=_table(columns, rows, *words))
        for heading, rows, columns, *words in lists
        if rows
    ]


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], one: str, several: str) -> Table:
    first = f", the first {_MOST_ROWS}" if len(rows) > _MOST_ROWS else ""
    return Table(columns, tuple(rows[:_MOST_ROWS]), counted(len(rows), one, several) + first)


def _mark_sections(audit: Audit, show: _Show) -> list[Section]:
    sections = []
    for mark, paths in audit.films.marks.items():
        if paths:
            pictures = tuple(show((path,), path) for path in paths[: _MOST_PICTURES // 2])
            heading = mark.replace("_", " ").capitalize()
            shown = f", of which {len(pictures)} are shown" if len(pictures) < len(paths) else ""
            told = f"{counted(len(paths), 'film', 'films')}{shown}. The mark is a guess from the pixels: look."
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
    image = image_bytes(Image.fromarray(np.concatenate(films[:-1], axis=1)), "png")
    return Picture(image, alt=f"Film {' beside film '.join(paths)}", caption=caption)
