"""How far probabilities may be believed: the reliability diagram of any result."""

from functools import partial

from fewshot_cxr.evaluation.estimates import Calibration
from fewshot_cxr.report.html import Section
from fewshot_cxr.report.pictures import Picture
from fewshot_cxr.report.tables import value_text
from fewshot_cxr.visualise import reliability_figure

HEADING = "How far the probabilities may be believed"


def reliability_section(calibration: Calibration, *, first_curve: str, caption: str, heading: str = HEADING) -> Section:
    """Show the reliability diagram, before and after a temperature where one was fitted.

    Args:
        calibration: of a result.
        first_curve: what the probabilities without a temperature are called.
        caption: below the picture.
        heading: of the section.
    """
    before, after = calibration.before, calibration.after
    curves = {first_curve: before.bins}
    told = [f"Expected calibration error {value_text(before.ece)}: how far belief and truth lie apart, on average."]
    if after is None:
        told.append(f"No temperature was fitted: {calibration.reason}.")
    else:
        curves[f"at temperature {after.temperature:.3g}"] = after.bins
        told.append(f"At temperature {after.temperature:.3g}, fitted on other films: {value_text(after.ece)}.")
    picture = Picture.drawn(
        partial(reliability_figure, curves),
        alt="Reliability diagram: the share of right answers over their probability; the diagonal is perfect.",
        caption=caption,
    )
    return Section(heading, tuple(told), (picture,))
