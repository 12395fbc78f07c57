"""What a support bank holds: a page with its counts, promise, warnings, exemplars and what a call is worth."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from PIL import Image

from fewshot_cxr.inference.bank import CalledPatients, SupportBank, bank_counts, bank_warnings, predictive_curve
from fewshot_cxr.metrics import Estimate
from fewshot_cxr.report.html import Headline, Page, Section
from fewshot_cxr.report.pictures import Picture, image_bytes
from fewshot_cxr.report.tables import Table
from fewshot_cxr.visualise.ppv_figure import ppv_figure
from fewshot_cxr.visualise.style import Reading

_MOST_THUMBNAILS = 100  # of a finding
_MOST_CURVES = 8
_COLUMNS = 10
_GAP_PX = 4
_ODDS = np.linspace(-6.9, 6.9, 47)  # prevalences of 0.1 to 99.9 %


def bank_page(bank: SupportBank) -> Page:
    """Return the page of a bank.

    Args:
        bank: as it is; neither its encoder nor a film is opened.
    """
    counts = [one.row() for one in bank_counts(bank.table)]
    table = Table(("finding", "films", "patients", "sources"), tuple(counts), "Exemplars of each finding")
    rest = [(name, line) for name, text in bank.facts() for line in text.splitlines()]
    return Page(
        "A support bank",
        headlines=_headlines(bank),
        cautions=tuple(bank_warnings(bank)),
        sections=(
            Section("What it holds", table=table),
            Section("How it decides, and what it promises", facts=(("content", bank.content_hash), *rest)),
            *_worth_sections(bank),
            *_thumbnail_sections(bank),
        ),
    )


def _headlines(bank: SupportBank) -> tuple[Headline, ...]:
    n_known = len({group for group, known in zip(bank.table.people, bank.table.has_patient, strict=True) if known})
    n_unknown = int((~bank.table.has_patient).sum())
    note = f"and {n_unknown:,} films of unknown patients" if n_unknown else ""
    return (
        Headline(f"{len(bank.findings):,}", "findings"),
        Headline(f"{len(bank):,}", "exemplars"),
        Headline(f"{n_known:,}", "known patient" if n_known == 1 else "known patients", note),
    )


def _worth_sections(bank: SupportBank) -> tuple[Section, ...]:
    """Return PPV and NPV over the prevalence of each finding, where the calibration's patients tell them."""
    calibration = bank.grounds.calibration
    called = [one for one in bank.grounds.called if all(n > 0 for n in one.n_patients)]
    if calibration is None or not called:
        return ()
    pictures = tuple(filter(None, (_curve(one, calibration.prior) for one in called[:_MOST_CURVES])))
    told = [
        "A film is called the finding that is nearest to it, without abstaining. PPV is the share of those called a "
        "finding who have it, NPV the share of the others who do not. The other findings keep the proportions of the "
        "calibration. Bands are 95 % intervals over its patients."
    ]
    if len(called) > _MOST_CURVES:
        told.append(f"Of {len(called):,} findings the first {_MOST_CURVES} are drawn.")
    return (Section("What a call is worth where a finding is rarer or more frequent", tuple(told), pictures),)


def _curve(called: CalledPatients, prior: Mapping[str, float]) -> Picture | None:
    """Return the curve of a finding; None: nobody was called it, or everybody."""
    values = predictive_curve(called, prior, (1 / (1 + np.exp(-_ODDS))).tolist())
    curve = [(one.prevalence, ppv, npv) for one in values if (ppv := _reading(one.ppv)) and (npv := _reading(one.npv))]
    if len(curve) < 2:
        return None
    name, share = called.finding, prior[called.finding]
    draw = partial(ppv_figure, curve, finding=name, marked={"calibration patients": share})
    return Picture.drawn(
        draw, alt=f"PPV and NPV of {name} over its prevalence; the calibration has {100 * share:.3g} %."
    )


def _reading(estimate: Estimate) -> Reading | None:
    return None if estimate.mean is None else (estimate.mean, estimate.ci95_patients)


def _thumbnail_sections(bank: SupportBank) -> tuple[Section, ...]:
    table = bank.table
    if table.thumbnails is None:
        return ()
    folded = []
    for name in bank.findings:
        rows = [row for row, finding in enumerate(table.findings) if finding == name]
        shown = rows[:_MOST_THUMBNAILS]
        more = f", the first {len(shown):,} of {len(rows):,}" if len(shown) < len(rows) else ""
        alt = f"{len(shown):,} exemplars of {name}"
        folded.append(
            Section(f"{name}{more}", pictures=(Picture(_sheet(table.thumbnails[shown]), alt, caption=alt + "."),))
        )
    return (Section("The exemplars", folded=tuple(folded)),)


def _sheet(thumbnails: np.ndarray) -> bytes:
    """Return small films in rows, as JPEG, each with a dark edge."""
    n_films, side = thumbnails.shape[:2]
    n_columns = min(_COLUMNS, n_films)
    n_rows = -(-n_films // n_columns)
    cell = side + _GAP_PX
    sheet = np.zeros((n_rows * cell, n_columns * cell), dtype=np.uint8)
    for place, film in enumerate(thumbnails):
        top, left = place // n_columns * cell, place % n_columns * cell
        sheet[top : top + side, left : left + side] = film
    # A page shows a picture at half its pixels.
    large = Image.fromarray(sheet).resize((2 * sheet.shape[1], 2 * sheet.shape[0]), Image.Resampling.BICUBIC)
    return image_bytes(large)
