"""One page on runs and results: the numbers first, what to beware of, then every part of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fewshot_cxr.evaluation.audit.result import Audit
from fewshot_cxr.evaluation.comparison import Comparison
from fewshot_cxr.evaluation.learning_curve_result import LearningCurve
from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.report.audit_page import audit_section, audit_text, embedding_headline
from fewshot_cxr.report.checklist import checklist_section
from fewshot_cxr.report.checklist_facts import Fact, audit_facts, curve_facts, joined, result_facts, run_facts
from fewshot_cxr.report.comparison_section import comparison_section, comparison_sections, kind_text, overview_section
from fewshot_cxr.report.episode_words import is_alarm, judged_text, protocol_facts, protocol_text
from fewshot_cxr.report.html import Headline, Page, Section
from fewshot_cxr.report.learning_curve_section import learning_curve_section
from fewshot_cxr.report.result_sections import baseline_headlines, episodic_headlines, main_number, result_sections
from fewshot_cxr.report.run_sections import ShownResult, ShownRun, making_facts, run_section
from fewshot_cxr.report.sections import training_section
from fewshot_cxr.report.tables import UNKNOWN, interval_text, value_text

LEFT_OUT = "What this page leaves out"
HEAT = "Where the network looks"
MADE = "How this was made"
_MOST_HEADLINES = 4


@dataclass(frozen=True, kw_only=True)
class PageParts:
    """What a page is made of.

    `comparisons`, `audits` and `curves` are (name, value) pairs; `films` are the sections that need films; `left_out`
    says what the page lacks, and which flag brings it in.
    """

    runs: tuple[ShownRun, ...] = ()
    results: tuple[ShownResult, ...] = ()
    comparisons: tuple[tuple[str, Comparison], ...] = ()
    audits: tuple[tuple[str, Audit], ...] = ()
    curves: tuple[tuple[str, LearningCurve], ...] = ()
    films: tuple[Section, ...] = ()
    left_out: tuple[str, ...] = ()


def run_page(parts: PageParts, *, title: str = "Report", checklist: str | None = None) -> Page:
    """Return the page.

    Args:
        parts: what it shows.
        title: of the page.
        checklist: in CHECKLISTS; it is filled, and stands last.

    Raises:
        ValueError: there is nothing to show, or no such checklist.
    """
    if not (parts.runs or parts.results or parts.comparisons or parts.audits or parts.curves):
        raise ValueError("a report needs a run, a result, a comparison, a learning curve or an audit, got none")
    sections = tuple(_sections(parts))
    if checklist is not None:
        sections += (checklist_section(checklist, _facts(parts), sections),)
    warnings, known = _warnings(parts), [one for _, audit in parts.audits if (one := audit.embedding) is not None]
    return Page(
        title,
        lead=_lead(parts),
        alarms=tuple(text for text, alarms in warnings.items() if alarms),
        headlines=(*_headlines(parts.results), *(embedding_headline(one) for one in known)),
        cautions=tuple(text for text, alarms in warnings.items() if not alarms),
        sections=sections,
    )


def _facts(parts: PageParts) -> dict[str, list[Fact]]:
    """Return what the parts know of what checklists ask."""
    known = [run_facts(run) for run in parts.runs]
    known += [result_facts(one.result, _full_name(one, parts.results) or one.name) for one in parts.results]
    known += [audit_facts(audit, name) for name, audit in parts.audits]
    known += [curve_facts(curve, learning_curve_section(curve, name).heading) for name, curve in parts.curves]
    shown = {section.heading for section in parts.films}
    known += [{"heat": Fact("heat maps of what the answers rest on", HEAT)}] if HEAT in shown else []
    return joined(known)


def episode_page(result: Result, *, title: str = "Few-shot episodes", facts: tuple[tuple[str, str], ...] = ()) -> Page:
    """Return the page of a result of episodes alone.

    Args:
        result: of `evaluate_episodes`.
        title: of the page.
        facts: further (name, text) pairs on how it was made, such as the checkpoint.
    """
    page = run_page(PageParts(results=(ShownResult(title, result),)), title=title)
    facts = (*facts, *protocol_facts(result), ("hash of the films", result.data_hash))
    made = Section(MADE, facts=facts)
    return replace(page, headlines=episodic_headlines(result), sections=(*page.sections[:-1], made))


def _sections(parts: PageParts) -> Iterator[Section]:
    """Yield ten sections at most, however much there is to show: what is alike of several results is one section."""
    compared = [*comparison_sections(parts.results), *(comparison_section(one) for _, one in parts.comparisons)]
    if len(parts.results) > 1:
        yield replace(overview_section(parts.results), folded=tuple(compared))
    elif compared:
        yield Section("Results compared", folded=tuple(compared))
    curves = [learning_curve_section(curve, name) for name, curve in parts.curves]
    yield from curves if len(curves) < 2 else [Section("How many films are enough", folded=tuple(curves))]
    yield from parts.films
    yield from _sections_of_results(parts.results)
    hashes = [str(run.split["hash"]) for run in parts.runs if "hash" in run.split]
    audits = [audit_section(audit, name, hashes=hashes) for name, audit in parts.audits]
    yield from audits if len(audits) < 2 else [Section("Audits of the films", folded=tuple(audits))]
    made = tuple(_making(parts))
    if made:
        yield Section(MADE, folded=made)


def _sections_of_results(results: Sequence[ShownResult]) -> Iterator[Section]:
    """Yield the sections of the result or, of several, a section for each heading that folds them by result."""
    by_heading: dict[str, list[Section]] = {}
    for shown in results:
        name = _full_name(shown, results)
        for section in result_sections(shown.result):
            by_heading.setdefault(section.heading, []).append(replace(section, heading=name or section.heading))
    for heading, some in by_heading.items():
        yield some[0] if len(results) == 1 else Section(heading, folded=tuple(some))


def _making(parts: PageParts) -> Iterator[Section]:
    """Yield how runs and results were made, and what the page leaves out."""
    if parts.left_out:
        yield Section(LEFT_OUT, parts.left_out)
    for shown in parts.results:
        name = _full_name(shown, parts.results) or shown.name
        yield Section(f"How the numbers were made: {name}", facts=making_facts(shown))
    for run in parts.runs:
        if run.history:
            yield training_section(run.history, heading=f"How {run.name} learnt")
        yield run_section(run)


def _lead(parts: PageParts) -> tuple[str, ...]:
    if len(parts.results) != 1:
        counts = {"run": len(parts.runs), "result": len(parts.results), "audit": len(parts.audits)}
        counts |= {"comparison": len(parts.comparisons), "learning curve": len(parts.curves)}
        return (", ".join(f"{n} {name}{'s' * (n > 1)}" for name, n in counts.items() if n) + ".",)
    result = parts.results[0].result
    if result.episodes is not None:
        return (f"{protocol_text(result)}.",)
    rule = ", each finding for itself" if result.kind == "multi_label" else f", decided by {result.rule}"
    return (f"{judged_text(result)}{rule}.",)


def _headlines(results: Sequence[ShownResult]) -> tuple[Headline, ...]:
    headlines = []
    for shown in results[:_MOST_HEADLINES]:
        name, one = main_number(shown.result)
        ends = {shown.result.interval_over: one.ci95_patients, "over episodes": one.ci95_episodes}
        told = "; ".join(f"{what} {interval_text(pair)}" for what, pair in ends.items() if pair is not None)
        label = ", ".join(filter(None, (name, _full_name(shown, results))))
        headlines.append(Headline(value_text(one), label, f"95 % {told}" if told else one.reason or UNKNOWN))
    if len(results) == 1:
        headlines += baseline_headlines(results[0].result)
    return tuple(headlines)


def _warnings(parts: PageParts) -> dict[str, bool]:
    """Return what to beware of, with the name of its result where there are several, and whether it is an alarm."""
    # Whether it is the disease at all comes before every other doubt.
    told = {audit.embedding.first_line: False for _, audit in parts.audits if audit.embedding is not None}
    for shown in parts.results:
        name = _full_name(shown, parts.results)
        for text in shown.result.warnings:
            told[text if name is None else f"{name}: {text}"] = is_alarm(text)
    told |= {text: is_alarm(text) for _, curve in parts.curves for text in curve.warnings}
    return told | {audit_text(audit): False for _, audit in parts.audits if audit.failed()}


def _full_name(shown: ShownResult, results: Sequence[ShownResult]) -> str | None:
    """Return what a result is called among these: by its name, its kind or both; None: it stands alone."""
    if len(results) == 1:
        return None
    if len({other.name for other in results}) == 1 and len({kind_text(other) for other in results}) == len(results):
        return kind_text(shown)
    is_shared = sum(other.name == shown.name for other in results) > 1
    return f"{shown.name}, {kind_text(shown)}" if is_shared else shown.name
