"""One page on episodes: the numbers first, what to beware of, then every part of the result."""

from fewshot_cxr.evaluation.result import Result
from fewshot_cxr.report.episode_sections import (
    accuracy_section,
    calibration_section,
    confusion_section,
    episodic_headlines,
    findings_section,
    numbers_section,
    open_set_section,
    recall_section,
)
from fewshot_cxr.report.episode_words import is_alarm, protocol_facts, protocol_text
from fewshot_cxr.report.html import Page, Section


def episode_page(result: Result, *, title: str = "Few-shot episodes", facts: tuple[tuple[str, str], ...] = ()) -> Page:
    """Return the page of a result.

    Args:
        result: of `evaluate_episodes`.
        title: of the page.
        facts: further (name, text) pairs on how it was made, such as the checkpoint.
    """
    sections = [accuracy_section(result), recall_section(result), findings_section(result)]
    if result.confusion:
        sections.append(confusion_section(result))
    if result.calibration is not None:
        sections.append(calibration_section(result))
    if result.open_set is not None:
        sections.append(open_set_section(result))
    sections += [
        numbers_section(result),
        Section("How this was made", facts=(*facts, *protocol_facts(result), ("hash of the films", result.data_hash))),
    ]
    return Page(
        title,
        lead=(f"{protocol_text(result)}.",),
        headlines=episodic_headlines(result),
        alarms=tuple(warning for warning in result.warnings if is_alarm(warning)),
        cautions=tuple(warning for warning in result.warnings if not is_alarm(warning)),
        sections=tuple(sections),
    )
