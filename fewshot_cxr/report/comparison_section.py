"""Several results beside each other, and those on the same films compared in pairs."""

from collections.abc import Sequence
from itertools import groupby

from fewshot_cxr.evaluation.compare import compare_results
from fewshot_cxr.evaluation.comparison import Comparison
from fewshot_cxr.report.compare_tables import comparison_table
from fewshot_cxr.report.html import Section
from fewshot_cxr.report.result_sections import main_number
from fewshot_cxr.report.run_sections import ShownResult
from fewshot_cxr.report.tables import Table, interval_text, value_text


def overview_section(results: Sequence[ShownResult]) -> Section:
    """Show the one number of each result with both its intervals, one below the other."""
    rows = []
    for shown in results:
        name, one = main_number(shown.result)
        intervals = (interval_text(pair) for pair in (one.ci95_patients, one.ci95_episodes))
        kind = kind_text(shown)
        rows.append((shown.name, kind, f"{shown.result.n_films:,}", name, value_text(one), *intervals))
    over = " or ".join(sorted({shown.result.interval_over for shown in results}, reverse=True))
    heads = ("", "of", "films", "number", "value", f"95 % {over}", "95 % over episodes")
    told = (
        "Numbers on other films, or of other kinds, are no contest: only results on the very same films or episodes "
        "are compared below."
    )
    return Section("All results", (told,), table=Table(heads, tuple(rows)))


def comparison_sections(results: Sequence[ShownResult]) -> tuple[Section, ...]:
    """Compare the first result of each kind with the others of that kind; those that cannot be are told with why."""
    sections, refused = [], []
    ordered = sorted(results, key=kind_text)
    for _, some in groupby(ordered, key=kind_text):
        first, *others = some
        for other in others:
            try:
                comparison = compare_results(first.result, other.result, names=(first.name, other.name))
            except ValueError as error:
                refused.append((f"{first.name} and {other.name}", str(error)))
                continue
            sections.append(comparison_section(comparison))
    if refused:
        sections.append(Section("Not compared", facts=tuple(refused)))
    return tuple(sections)


def comparison_section(comparison: Comparison) -> Section:
    """Show a comparison of two results number by number, and what to beware of."""
    first, second = comparison.names
    kind = comparison.results.replace("_", " ")
    facts = [("note", note) for note in comparison.notes] + [("warning", text) for text in comparison.warnings]
    return Section(f"{first} against {second}, {kind}", table=comparison_table(comparison), facts=tuple(facts))


def kind_text(shown: ShownResult) -> str:
    """Return what a result is of: episodes, a closed set, or films of several findings."""
    return "several findings" if shown.result.kind == "multi_label" else shown.result.kind.replace("_", " ")
