"""Results on the screen: their tables, and predictions with their exemplars."""

from collections.abc import Sequence

from fewshot_cxr.cli.console import print_line, say, say_notes, show_tables
from fewshot_cxr.cli.words import spoken
from fewshot_cxr.evaluation import Result
from fewshot_cxr.inference import Prediction
from fewshot_cxr.report import is_alarm, patients_text, reading_text
from fewshot_cxr.report.episode_words import judged_text
from fewshot_cxr.report.finding_tables import result_tables


def show_result(result: Result, *, is_whole: bool = True) -> None:
    """Print every table of a result, or only the first two of episodes; then what to beware of."""
    show_tables(result_tables(result)[: None if is_whole else 2])
    if (asked := result.episodes) is not None:
        say(f"{judged_text(result)}; {asked.episodes_per_second:,.0f} episodes/s")
        if asked.n_patient_episodes and result.replicates is not None and result.replicates.influence:
            say(f"interval {result.interval_over}: {patients_text(result)}")
        say(reading_text(result))
    say_notes(result.notes)
    show_warnings(result.warnings)


def show_warnings(warnings: Sequence[str]) -> None:
    """Print warnings on standard error, in yellow, or red where one is an alarm; colour is for a terminal alone."""
    for warning in warnings:
        colour = "red" if is_alarm(warning) else "yellow"
        print_line(f"warning: {spoken(warning)}", to_stderr=True, colour=colour)


def show_prediction(predictions: Sequence[Prediction]) -> None:
    """Print for each film its finding, its distance to every finding, and the nearest exemplars."""
    for prediction in predictions:
        tied = " (tied)" if len(prediction.findings) > 1 else ""
        print_line(f"{prediction.path}: {' = '.join(prediction.findings)}{tied}")
        ranked = sorted(prediction.distances.items(), key=lambda item: item[1])
        print_line("  distance to each finding, smaller is closer")
        for name, distance in ranked:
            print_line(f"    {distance:.4f}  {name}")
        print_line("  nearest exemplars")
        for exemplar in prediction.exemplars:
            print_line(f"    {exemplar.distance:.4f}  {exemplar.finding}  {exemplar.path}")
        for note in prediction.notes:
            print_line(f"  note: {note}")
